# Splits people.name into first_name and last_name. Elixir 1.18 or newer has a JSON module; an older
# one needs a project that has Jason.
defmodule SplitNames do
  @json Enum.find([JSON, Jason], &Code.ensure_loaded?/1) || raise("no JSON, no Jason")

  # The columns to set, or :leave, or why the row can't be done.
  def transform(%{"name" => nil}), do: :leave

  def transform(%{"name" => name}) do
    case :binary.split(name, " ") do
      [first, last] when last != "" -> {:set, %{first_name: first, last_name: last}}
      _ -> {:reject, "the name has no space"}
    end
  end

  def run do
    # Bytes in, bytes out: JSON is UTF-8, whatever the locale says.
    :ok = :io.setopts(:standard_io, encoding: :latin1, binary: true)
    # The header: table, key and columns with their types.
    _header = IO.binread(:stdio, :line)

    IO.binstream(:stdio, :line)
    |> Stream.map(&@json.decode!/1)
    |> Enum.each(&handle/1)
  end

  # All rows of the chunk are answered.
  defp handle(%{"chunk" => _} = message), do: answer(message)

  defp handle(%{"key" => key, "row" => row}) do
    case transform(row) do
      :leave -> :ok
      {:set, values} -> answer(%{key: key, set: values})
      {:reject, reason} -> answer(%{key: key, reject: reason})
    end
  end

  defp answer(message), do: IO.binwrite(:stdio, [@json.encode_to_iodata!(message), ?\n])
end

SplitNames.run()
