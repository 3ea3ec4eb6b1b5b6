#!/usr/bin/env ruby
# Splits people.name into first_name and last_name.
require "json"

# JSON is UTF-8, whatever the locale says.
$stdin.set_encoding(Encoding::UTF_8)
$stdout.set_encoding(Encoding::UTF_8)

# The columns to set; nil leaves the row as it is.
def transform(row)
  return if row["name"].nil?

  first, _, last = row["name"].partition(" ")
  raise ArgumentError, "the name has no space" if last.empty?

  { first_name: first, last_name: last }
end

def answer(message)
  $stdout.write(JSON.generate(message), "\n")
end

$stdin.gets # the header: table, key and columns with their types
$stdin.each_line do |line|
  message = JSON.parse(line)
  if message.key?("chunk")
    answer(message) # all rows of the chunk are answered
    $stdout.flush
    next
  end
  begin
    values = transform(message["row"])
    answer(key: message["key"], set: values) if values
  rescue ArgumentError => e
    answer(key: message["key"], reject: e.message)
  end
end
