# frozen_string_literal: true

require "fluent/plugin/filter"
require "fluent/plugin/kpanic/stage"

module Fluent
  module Plugin
    # Passes records on, reads the kernel's lines in them, and emits a document for each crash.
    class KpanicFilter < Filter
      Fluent::Plugin.register_filter("kpanic", self)
      helpers :event_emitter

      desc "Path of kpanic"
      config_param :command, :string, default: "kpanic"
      desc "Tag of the documents; documents of signatures have this tag with .signature appended"
      config_param :tag, :string, default: "kernel.panic"
      desc "Folder that stores open crashes, so that they survive a kill of the filter"
      config_param :state, :string, default: nil
      desc "Seconds without a line from a host after which its crash counts as complete"
      config_param :close_quiet, :time, default: 10
      desc "Also emit a document for each new signature"
      config_param :signatures, :bool, default: true
      desc "Pass the records on"
      config_param :pass, :bool, default: true
      desc "Maximum number of events that wait for the process"
      config_param :queue_size, :integer, default: 10_000
      desc "Seconds that an event waits for room in the queue before it is dropped"
      config_param :write_timeout, :time, default: 5
      desc "Seconds for the process to print open crashes at shutdown"
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

      # The router works until after_shutdown, so open crashes are emitted.
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
