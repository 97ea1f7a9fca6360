# frozen_string_literal: true

require "msgpack"

module Fluent
  module Plugin
    module Kpanic
      # Seconds and nanoseconds, for use without Fluentd's own class.
      # MessagePack encodes it as in the forward protocol: extension type 0, two big-endian words.
      EventTime = Struct.new(:sec, :nsec) do
        def to_msgpack_ext
          [sec, nsec].pack("NN")
        end

        def self.from_msgpack_ext(data)
          new(*data.unpack("NN"))
        end
      end

      # MessagePack with event times.
      def self.factory
        kind = defined?(::Fluent::EventTime) ? ::Fluent::EventTime : EventTime
        made = MessagePack::Factory.new
        made.register_type(0, kind)
        made
      end
    end
  end
end
