# frozen_string_literal: true

require "fluent/plugin/filter"
require "fluent/plugin/kpanic/stage"

module Fluent
  module Plugin
    # Lets records pass, reads kernel lines in them, and emits a document for each crash.
    class KpanicFilter < Filter
      Fluent::Plugin.register_filter("kpanic", self)
      helpers :event_emitter

      desc "Path of kpanic"
      config_param :command, :string, default: "kpanic"
      desc "Tag of the documents; those of signatures have .signature behind it"
      config_param :tag, :string, default: "kernel.panic"
      desc "Folder for open crashes, which then survive a kill of the filter"
      config_param :state, :string, default: nil
      desc "Seconds without a line of a host after which its crash is complete"
      config_param :close_quiet, :time, default: 10
      desc "Emit a document for each new signature too"
      config_param :signatures, :bool, default: true
      desc "Let the kernel lines pass"
      config_param :pass, :bool, default: true
      desc "Events that wait for the process"
      config_param :queue_size, :integer, default: 10_000
      desc "Seconds that an event waits for room before it is dropped"
      config_param :write_timeout, :time, default: 5
      desc "Seconds that the process has at the end to print what is open"
      config_param :close_timeout, :time, default: 10

      def multi_workers_ready?
        @state.nil?
      end

      def start
        super
        command = [@command, "filter", "--close-quiet", @close_quiet.to_s, "--tag", @tag]
        command << "--signatures" if @signatures
        command.push("--state", @state) if @state
        options = { queue_size: @queue_size, write_timeout: @write_timeout, close_timeout: @close_timeout }
        @stage = Kpanic::Stage.new(command, log: log, **options) do |tag, time, record|
          router.emit(tag, time, record)
        end
        @stage.start
      end

      # The router is there until after_shutdown: what is open is emitted.
      def shutdown
        @stage&.close
        super
      end

      def filter(tag, time, record)
        @stage.feed(tag, time, record) unless tag == @tag || tag == "#{@tag}.signature"
        @pass ? record : nil
      end
    end
  end
end
