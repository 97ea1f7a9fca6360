# frozen_string_literal: true

require "open3"
require "timeout"
require "fluent/plugin/kpanic/event_time"

module Fluent
  module Plugin
    module Kpanic
      # Runs the filter once on a complete text.
      module Text
        class Failed < StandardError; end

        # @return [Array] time and record of each crash
        # @raise [Failed] the filter could not be run, failed, or took longer than `seconds`
        def self.documents(command, text, seconds)
          input, output, running = Open3.popen2(*command, "--output-format", "msgpack")
          [input, output].each(&:binmode)
          Timeout.timeout(seconds) do
            writer = Thread.new { write(input, text) }
            found = Kpanic.factory.unpacker(output).each.to_a
            writer.join
            raise Failed, "the filter ended: #{running.value}" unless running.value.success?

            return found
          end
        rescue Timeout::Error
          Process.kill("KILL", running.pid)
          raise Failed, "the filter took longer than #{seconds} s"
        rescue SystemCallError, MessagePack::UnpackError => e
          raise Failed, e.message
        ensure
          [input, output].compact.each { |one| one.close unless one.closed? }
        end

        def self.write(input, text)
          input.write(text)
        rescue Errno::EPIPE
          nil # the exit status gives the reason
        ensure
          input.close
        end
        private_class_method :write
      end
    end
  end
end
