# frozen_string_literal: true

require "open3"
require "timeout"
require "fluent/plugin/kpanic/event_time"

module Fluent
  module Plugin
    module Kpanic
      # A whole text through one run of the filter.
      module Text
        class Failed < StandardError; end

        # @return [Array] of time and record for each crash
        # @raise [Failed] the filter cannot be run, or not in time
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
          raise Failed, "the filter takes longer than #{seconds} s"
        rescue SystemCallError, MessagePack::UnpackError => e
          raise Failed, e.message
        ensure
          [input, output].compact.each { |one| one.close unless one.closed? }
        end

        def self.write(input, text)
          input.write(text)
        rescue Errno::EPIPE
          nil # its status tells why
        ensure
          input.close
        end
        private_class_method :write
      end
    end
  end
end
