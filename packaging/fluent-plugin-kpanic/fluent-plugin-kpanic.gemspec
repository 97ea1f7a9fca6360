# frozen_string_literal: true

Gem::Specification.new do |spec|
  spec.name = "fluent-plugin-kpanic"
  spec.version = "0.1.0"
  spec.summary = "Kernel panics in Fluentd's records, as structured documents"
  spec.description = "A filter and a parser that run kpanic filter, which must be installed."
  spec.authors = ["The kpanic authors"]
  spec.license = "Apache-2.0"
  spec.required_ruby_version = ">= 2.7"
  spec.files = Dir["lib/**/*.rb"] + ["README.md"]
  spec.add_dependency "fluentd", ">= 1.16", "< 2"
  spec.add_dependency "msgpack", ">= 1.3", "< 2"
end
