# frozen_string_literal: true

# Tests of the gem with a real kpanic: KPANIC is the path of the command, LOGS a folder with crash logs.

require "test/unit"
require "time"
require "tmpdir"
require "fluent/plugin/kpanic/stage"
require "fluent/plugin/kpanic/text"

class Log
  attr_reader :lines

  def initialize
    @lines = []
  end

  def warn(line)
    @lines << line
  end
end

class TestKpanic < Test::Unit::TestCase
  include Fluent::Plugin

  COMMAND = [ENV.fetch("KPANIC"), "filter"].freeze
  OOPS = File.binread("#{ENV.fetch('LOGS')}/6.1.0-56-amd64-x86_64-null_read.log").gsub("\r\n", "\n")
  BUG = File.binread("#{ENV.fetch('LOGS')}/6.1.0-56-amd64-x86_64-bug.log").gsub("\r\n", "\n")

  def setup
    @log = Log.new
    @found = Queue.new
  end

  def stage(*options, command: COMMAND, **named)
    made = Kpanic::Stage.new(command + options, log: @log, **named) { |*document| @found << document }
    made.start
  end

  def feed(stage, text, host: "web-1")
    time = Kpanic::EventTime.new(1_777_000_000, 5)
    text.each_line(chomp: true) do |line|
      assert stage.feed("kern", time, { "message" => line.scrub, "host" => host, "ident" => "kernel" })
    end
  end

  def wait_for(what, seconds = 30)
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
    until yield
      flunk("#{what} does not come; #{@log.lines}") if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
      sleep(0.02)
    end
  end

  def document(seconds = 30)
    wait_for("a document", seconds) { !@found.empty? }
    @found.pop
  end

  def children
    File.read("/proc/#{Process.pid}/task/#{Process.pid}/children").split.map(&:to_i) +
      Dir["/proc/#{Process.pid}/task/*/children"].flat_map { |path| File.read(path).split.map(&:to_i) }
  end

  def test_a_document_comes_out_when_the_host_is_quiet_with_tag_and_event_time
    made = stage("--close-quiet", "1", "--signatures", "--tag", "kernel.panic")
    feed(made, OOPS)
    tag, time, record = document
    assert_equal("kernel.panic", tag)
    assert_kind_of(Kpanic::EventTime, time)
    assert_equal(Time.iso8601(record["@timestamp"]).to_i, time.sec)
    assert_equal("web-1", record.dig("host", "name"))
    assert_equal("complete", record.dig("kernel", "panic", "parse", "status"))
    assert_not_nil(record.dig("labels", "document_id"))
    assert_equal("kernel.panic.signature", document[0])
    made.close
    assert_equal([], @log.lines)
    assert_equal(1, made.starts)
  end

  def test_what_is_open_comes_out_at_the_end
    made = stage("--close-quiet", "600", "--tag", "t")
    feed(made, BUG)
    made.close
    assert_equal("bug", document(0.1)[2].dig("kernel", "panic", "kind"))
    assert_equal(false, made.feed("kern", 1, { "message" => "after the end" }))
  end

  def test_a_filter_that_is_killed_is_started_again_and_goes_on_with_the_open_crash
    Dir.mktmpdir do |folder|
      made = stage("--close-quiet", "3", "--tag", "t", "--state", folder)
      lines = OOPS.lines
      middle = lines.index { |line| line.include?("Call Trace") } + 2
      feed(made, lines[0...middle].join)
      journal = "#{folder}/journal"
      wait_for("the journal") { File.exist?(journal) && File.binread(journal).include?("Call Trace") }
      Process.kill("KILL", children.first)
      wait_for("the second start") { made.starts == 2 }
      feed(made, lines[middle..].join)
      record = document[2]
      whole, = Kpanic::Text.documents(COMMAND, OOPS, 60)
      assert_equal(whole[1].dig("kernel", "panic", "call_trace"), record.dig("kernel", "panic", "call_trace"))
      assert_equal(whole[1].dig("event", "id"), record.dig("event", "id"))
      made.close
      assert_match(/the filter ended .*SIGKILL.*restarting/, @log.lines.join)
    end
  end

  def test_a_filter_that_cannot_be_started_is_said_and_events_are_dropped_after_a_time
    made = stage(command: ["/nonexistent/kpanic"], queue_size: 2, write_timeout: 0.2)
    results = Array.new(4) { made.feed("kern", 1, { "message" => "line" }) }
    assert_equal([true, true, false, false], results)
    assert_equal(2, made.dropped)
    assert_equal(1, @log.lines.grep(/are dropped/).size)
    assert_match(/No such file or directory/, @log.lines.join)
    made.close
  end

  def test_a_filter_that_does_not_read_blocks_no_event_forever
    made = stage(command: ["sh", "-c", "exec sleep 600", "sh"], queue_size: 1, write_timeout: 0.2, close_timeout: 0.5)
    large = { "message" => "x" * 100_000 }
    assert_equal(false, Array.new(4) { made.feed("kern", 1, large) }.last)
    began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    made.close
    assert_operator(Process.clock_gettime(Process::CLOCK_MONOTONIC) - began, :<, 10)
  end

  def test_a_fault_of_whoever_takes_a_document_does_not_end_the_stage
    first = true
    made = Kpanic::Stage.new(COMMAND + ["--close-quiet", "1", "--tag", "t"], log: @log) do |*document|
      raise "full" if first && (first = false).!

      @found << document
    end
    made.start
    feed(made, OOPS)
    wait_for("the fault") { !first }
    feed(made, BUG)
    assert_equal("bug", document[2].dig("kernel", "panic", "kind"))
    made.close
    assert_match(/a document could not be emitted: full/, @log.lines.join)
  end

  def test_a_whole_text_is_parsed
    (time, record), = Kpanic::Text.documents(COMMAND, OOPS, 60)
    assert_kind_of(Kpanic::EventTime, time)
    assert_equal("oops", record.dig("kernel", "panic", "kind"))
    assert_equal([], Kpanic::Text.documents(COMMAND, "nothing\n", 60))
    assert_raise(Kpanic::Text::Failed) { Kpanic::Text.documents(["/nonexistent"], "", 60) }
    assert_raise(Kpanic::Text::Failed) { Kpanic::Text.documents(["false"], OOPS * 50, 60) }
    error = assert_raise(Kpanic::Text::Failed) { Kpanic::Text.documents(["sh", "-c", "sleep 60"], "", 0.2) }
    assert_match(/longer than 0.2 s/, error.message)
  end
end
