# frozen_string_literal: true

require "fluent/plugin/parser"
require "fluent/plugin/kpanic/text"

module Fluent
  module Plugin
    # Parses a complete text, such as a vmcore-dmesg.txt, into the documents of its crashes.
    class KpanicParser < Parser
      Fluent::Plugin.register_parser("kpanic", self)

      desc "Path of kpanic"
      config_param :command, :string, default: "kpanic"
      desc "Maximum seconds for a text"
      config_param :timeout, :time, default: 30

      def parser_type
        :text_per_line
      end

      def parse(text)
        found = Kpanic::Text.documents([@command, "filter"], text, @timeout)
        yield nil, nil if found.empty?
        found.each { |time, record| yield time, record }
      rescue Kpanic::Text::Failed => e
        raise ParserError, e.message
      end

      def parse_io(input, &block)
        parse(input.read, &block)
      end
    end
  end
end
