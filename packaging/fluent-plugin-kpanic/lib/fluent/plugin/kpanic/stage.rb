# frozen_string_literal: true

require "fluent/plugin/kpanic/event_time"

module Fluent
  module Plugin
    module Kpanic
      # A running `kpanic filter`: events in, documents out. It is restarted if it ends by itself.
      #
      # Events wait for the process in a queue; if the queue is full, `feed` waits up to `write_timeout`.
      class Stage
        # The shortest and the longest pause before the process is started again, in seconds.
        PAUSES = [0.1, 30].freeze

        # Number of events that were dropped because the queue stayed full.
        attr_reader :dropped
        # Number of starts of the process.
        attr_reader :starts

        # @param command [Array<String>] command of the filter, without the options for formats
        # @param log responds to `warn`
        # @param queue_size [Integer] maximum number of events in the queue
        # @param write_timeout [Numeric] maximum seconds that an event waits for room in the queue
        # @param close_timeout [Numeric] seconds for the process to print open crashes before it is killed
        # @yield [tag, time, record] each document, in a thread of the stage
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

        # Queue an event; return false if it was dropped.
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

        # End the process after the queued events; documents of open crashes are yielded before this returns.
        def close
          @mutex.synchronize do
            @closing = true
            @changed.broadcast
          end
          return if @thread.nil? || @thread.join(@close_timeout)

          @given_up = true # the process does not read: a write would block
          signal("KILL")
          @thread.join(@close_timeout) || @thread.kill
        end

        private

        def now
          Process.clock_gettime(Process::CLOCK_MONOTONIC)
        end

        def drop
          @dropped += 1
          @log.warn("kpanic: events are dropped: the filter does not read") if @dropped == 1
          false
        end

        def run
          pause = PAUSES.first
          loop do
            began = now
            ended = run_once
            return if ended == :closed || @given_up

            pause = PAUSES.first if now - began > PAUSES.last
            @log.warn("kpanic: the filter ended (#{ended}); restarting it in #{pause} s")
            @mutex.synchronize { @changed.wait(@mutex, pause) unless @closing }
            pause = [2 * pause, PAUSES.last].min
          end
        end

        # Start the process and write to it until it ends; return :closed if the stage was closed.
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

        # Write events while the process runs; return true once the stage is closed and all are written.
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
          false # the event stays in the queue for the next process
        end

        def read(reading)
          @factory.unpacker(reading).each { |tag, time, record| deliver(tag, time, record) }
        rescue EOFError, IOError
          nil
        rescue MessagePack::UnpackError => e
          @log.warn("kpanic: the output of the filter is invalid: #{e.message}")
        ensure
          reading.close unless reading.closed?
        end

        def deliver(tag, time, record)
          @take.call(tag, time, record)
        rescue StandardError => e
          @log.warn("kpanic: a document could not be emitted: #{e.message}")
        end

        def signal(name)
          Process.kill(name, @pid) if @pid
        rescue Errno::ESRCH
          nil
        end

        # Wait for the process to end; after `close_timeout` send SIGTERM, then SIGKILL. Return its status.
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
          "it did not end"
        end
      end
    end
  end
end
