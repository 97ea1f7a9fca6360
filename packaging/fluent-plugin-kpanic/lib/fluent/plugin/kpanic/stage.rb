# frozen_string_literal: true

require "fluent/plugin/kpanic/event_time"

module Fluent
  module Plugin
    module Kpanic
      # A running `kpanic filter`: events in, documents out. It is started again when it ends by itself.
      #
      # Events wait in a queue for the process; whoever brings one more than it holds waits, for a time.
      class Stage
        # The shortest and the longest pause before the process is started again, in seconds.
        PAUSES = [0.1, 30].freeze

        # Events that were dropped as the queue stayed full.
        attr_reader :dropped
        # How often the process was started.
        attr_reader :starts

        # @param command [Array<String>] of the filter, without its formats
        # @param log responds to `warn`
        # @param queue_size [Integer] events that wait for the process
        # @param write_timeout [Numeric] seconds that an event waits for room in the queue
        # @param close_timeout [Numeric] seconds that the process has to print what is open when it ends
        # @yield [tag, time, record] each document, in a thread of the stage's own
        def initialize(command, log:, queue_size: 10_000, write_timeout: 5, close_timeout: 10, &take)
          @command = command + %w[--input-format msgpack --output-format msgpack]
          @log = log
          @queue_size = queue_size
          @write_timeout = write_timeout
          @close_timeout = close_timeout
          @take = take
          @factory = Kpanic.factory
          @queue = []
          @mutex = Mutex.new
          @changed = ConditionVariable.new
          @closing = @given_up = false
          @pid = nil
          @dropped = 0
          @starts = 0
        end

        def start
          @thread = Thread.new { run }
          self
        end

        # Bring an event; false if it was dropped.
        def feed(tag, time, record)
          until_then = now + @write_timeout
          @mutex.synchronize do
            while @queue.size >= @queue_size && !@closing
              left = until_then - now
              return drop if left <= 0

              @changed.wait(@mutex, left)
            end
            return drop if @closing

            @queue << [tag, time, record]
            @changed.broadcast
          end
          true
        end

        # End the process after the events that wait; what is open is printed before this returns.
        def close
          @mutex.synchronize do
            @closing = true
            @changed.broadcast
          end
          return if @thread.nil? || @thread.join(@close_timeout)

          @given_up = true # it does not read: no write would end
          signal("KILL")
          @thread.join(@close_timeout) || @thread.kill
        end

        private

        def now
          Process.clock_gettime(Process::CLOCK_MONOTONIC)
        end

        def drop
          @dropped += 1
          @log.warn("kpanic: an event was dropped, as the filter takes none") if @dropped == 1
          false
        end

        def run
          pause = PAUSES.first
          loop do
            began = now
            ended = run_once
            return if ended == :closed || @given_up

            pause = PAUSES.first if now - began > PAUSES.last
            @log.warn("kpanic: the filter ended (#{ended}); it is started again in #{pause} s")
            @mutex.synchronize { @changed.wait(@mutex, pause) unless @closing }
            pause = [2 * pause, PAUSES.last].min
          end
        end

        # Start the process and write to it until it ends; :closed if that was wanted.
        def run_once
          input, writing = IO.pipe
          reading, output = IO.pipe
          [writing, reading].each(&:binmode)
          pid = @pid = Process.spawn(*@command, in: input, out: output)
          [input, output].each(&:close)
          @starts += 1
          reader = Thread.new { read(reading) }
          closed = write(writing, reader)
          writing.close
          status = finish(pid)
          reader.join(@close_timeout)
          closed ? :closed : status
        rescue SystemCallError => e
          [input, writing, reading, output].compact.each { |one| one.close unless one.closed? }
    @closing ? :closed : e.message
        end

        # Write events while the process reads; true once all are written and the stage is closed.
        def write(writing, reader)
          while reader.alive?
            event = @mutex.synchronize do
              @changed.wait(@mutex, 0.5) if @queue.empty? && !@closing
              return true if @queue.empty? && @closing

              @queue.first
            end
            next unless event

            writing.write(@factory.packer.write(event).to_s)
            @mutex.synchronize do
              @queue.shift
              @changed.broadcast
            end
          end
          false
        rescue Errno::EPIPE
          false # the event is the first of the next process
        end

        def read(reading)
          @factory.unpacker(reading).each { |tag, time, record| deliver(tag, time, record) }
        rescue EOFError, IOError
          nil
        rescue MessagePack::UnpackError => e
          @log.warn("kpanic: the filter prints something else than documents: #{e.message}")
        ensure
          reading.close unless reading.closed?
        end

        def deliver(tag, time, record)
          @take.call(tag, time, record)
        rescue StandardError => e
          @log.warn("kpanic: a document was not taken: #{e.message}")
        end

        def signal(name)
          Process.kill(name, @pid) if @pid
        rescue Errno::ESRCH
          nil
        end

        # Wait for the process; end it if it takes too long.
        def finish(pid)
          ["TERM", "KILL", nil].each do |signal|
            deadline = now + @close_timeout
            while now < deadline
              _, status = Process.waitpid2(pid, Process::WNOHANG)
              if status
                @pid = nil
                return status.to_s
              end

              sleep(0.02)
            end
            self.signal(signal) if signal
          end
          "it does not end"
        end
      end
    end
  end
end
