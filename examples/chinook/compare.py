#!/usr/bin/env python3
"""Compares Chinook's old database with the new one, row by row and column by column.

Nothing of Dunlin's is used to read rows: sqlite3, mariadb and psql print both sides, and rows are
paired by what `dunlin move ids export` says of their keys. Prints what differs; nothing, and exit
code 0, where nothing does.

    compare.py shop  Chinook.sqlite postgres://…/shop  FOLDER   # FOLDER: artist.csv, album.csv, …
    compare.py sales mysql-client-arguments postgres://…/sales FOLDER
"""

import csv
import shlex
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path


def postgres(url, sql):
    done = subprocess.run(
        ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", url,
         "-c", "SET TIME ZONE 'UTC'", "-c", f"COPY ({sql}) TO STDOUT (FORMAT csv, NULL '\\N')"],
        check=True, capture_output=True, text=True)
    return [tuple(None if field == "\\N" else field for field in row)
            for row in csv.reader(done.stdout.splitlines(keepends=True))]


def sqlite(path, sql):
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    return [tuple(None if field is None else str(field) for field in row)
            for row in connection.execute(sql)]


def mariadb(arguments, columns, rest):
    digits = ", ' ', ".join(f"coalesce(hex(CAST({column} AS char)), '-')" for column in columns)
    done = subprocess.run(
        ["mariadb", "--no-defaults", *shlex.split(arguments), "--batch", "--skip-column-names",
         "--default-character-set=utf8mb4", "-e", f"SELECT concat({digits}) FROM {rest}"],
        check=True, capture_output=True, text=True)
    return [tuple(None if field == "-" else bytes.fromhex(field).decode() for field in line.split(" "))
            for line in done.stdout.splitlines()]


def ids(folder, namespace):
    with open(Path(folder) / f"{namespace}.csv", newline="") as file:
        return {row["old"]: row["new"] for row in csv.DictReader(file)}


def money(text):
    return None if text is None else f"{Decimal(text):.2f}"


def lower(text):
    return None if text is None else text.lower()


def instant(text):
    return None if text is None else text + "+00"


def differences(name, expected, found):
    expected, found = sorted(expected, key=str), sorted(found, key=str)
    if expected == found and len(set(expected)) == len(expected):
        return 0
    lost, new = set(expected) - set(found), set(found) - set(expected)
    print(f"{name}: {len(lost)} of {len(expected)} rows are lost or changed, {len(new)} are new")
    for row in sorted(lost, key=str)[:3]:
        print("  should be", row)
    for row in sorted(new, key=str)[:3]:
        print("  is       ", row)
    return 1


def shop(old, new, folder):
    keys = {name: ids(folder, name) for name in (
        "artist", "album", "genre", "media", "employee", "customer", "track", "invoice", "line",
        "playlist")}

    def key(namespace):
        return lambda number: None if number is None else keys[namespace][number]

    same = lambda value: value  # noqa: E731
    tables = [
        ("artists", "Artist", "id, name", [("ArtistId", key("artist")), ("coalesce(Name, 'Unknown')", same)]),
        ("albums", "Album", "id, title, artist_id",
         [("AlbumId", key("album")), ("Title", same), ("ArtistId", key("artist"))]),
        ("genres", "Genre", "id, name", [("GenreId", key("genre")), ("Name", same)]),
        ("media_types", "MediaType", "id, name", [("MediaTypeId", key("media")), ("Name", same)]),
        ("employees", "Employee",
         "id, first_name, last_name, title, reports_to_id, birth_date, hired_at, address, city, state, "
         "country, postal_code, phone, fax, email",
         [("EmployeeId", key("employee")), ("FirstName", same), ("LastName", same), ("Title", same),
          ("ReportsTo", key("employee")), ("substr(BirthDate, 1, 10)", same), ("HireDate", instant),
          ("Address", same), ("City", same), ("State", same), ("Country", same), ("PostalCode", same),
          ("Phone", same), ("Fax", same), ("Email", lower)]),
        ("customers", "Customer",
         "id, first_name, last_name, company, address, city, state, country, postal_code, phone, fax, "
         "email, support_rep_id",
         [("CustomerId", key("customer")), ("FirstName", same), ("LastName", same), ("Company", same),
          ("Address", same), ("City", same), ("State", same), ("Country", same), ("PostalCode", same),
          ("Phone", same), ("Fax", same), ("Email", lower), ("SupportRepId", key("employee"))]),
        ("tracks", "Track",
         "id, name, album_id, media_type_id, genre_id, composer, milliseconds, bytes, unit_price",
         [("TrackId", key("track")), ("Name", same), ("AlbumId", key("album")),
          ("MediaTypeId", key("media")), ("GenreId", key("genre")), ("Composer", same),
          ("Milliseconds", same), ("Bytes", same), ("UnitPrice", money)]),
        ("invoices", "Invoice",
         "id, customer_id, invoiced_at, billing_address, billing_city, billing_state, billing_country, "
         "billing_postal_code, total",
         [("InvoiceId", key("invoice")), ("CustomerId", key("customer")), ("InvoiceDate", instant),
          ("BillingAddress", same), ("BillingCity", same), ("BillingState", same),
          ("BillingCountry", same), ("BillingPostalCode", same), ("Total", money)]),
        ("invoice_lines", "InvoiceLine", "id, invoice_id, track_id, unit_price, quantity",
         [("InvoiceLineId", key("line")), ("InvoiceId", key("invoice")), ("TrackId", key("track")),
          ("UnitPrice", money), ("Quantity", same)]),
        ("playlists", "Playlist", "id, name",
         [("PlaylistId", key("playlist")), ("coalesce(Name, 'Untitled')", same)]),
        ("playlist_tracks", "PlaylistTrack", "playlist_id, track_id",
         [("PlaylistId", key("playlist")), ("TrackId", key("track"))]),
    ]
    wrong = rows = 0
    for table, source, columns, made in tables:
        was = sqlite(old, f"SELECT {', '.join(column for column, _ in made)} FROM {source}")
        expected = [tuple(make(value) for (_, make), value in zip(made, row)) for row in was]
        rows += len(expected)
        wrong += differences(table, expected, postgres(new, f"SELECT {columns} FROM {table}"))
    return wrong, rows


def sales(old, new, folder):
    customer, employee, sale = (ids(folder, name) for name in ("customer", "employee", "sale"))
    person = ["FirstName", "LastName", "lower(Email)", "City", "Country"]
    place = lambda city, country: ", ".join(part for part in (city, country) if part is not None)  # noqa: E731
    people = [(employee[id], "employee", f"{first} {last}", mail, place(city, country), None)
              for id, first, last, mail, city, country in mariadb(old, ["EmployeeId", *person], "Employee")]
    people += [(customer[id], "customer", f"{first} {last}", mail, place(city, country),
                None if by is None else employee[by])
               for id, first, last, mail, city, country, by
               in mariadb(old, ["CustomerId", *person, "SupportRepId"], "Customer")]
    recordings = [
        (id, name, album, artist, genre, medium, f"{Decimal(millis) / 1000:f}", money(price))
        for id, name, album, artist, genre, medium, millis, price in mariadb(
            old, ["t.TrackId", "t.Name", "a.Title", "r.Name", "g.Name", "m.Name", "t.Milliseconds", "t.UnitPrice"],
            "Track t JOIN MediaType m USING (MediaTypeId) LEFT JOIN Album a USING (AlbumId) "
            "LEFT JOIN Artist r USING (ArtistId) LEFT JOIN Genre g USING (GenreId)")]
    sold = [
        (sale[id], at, customer[by], track, country, money(amount))
        for id, at, by, track, country, amount in mariadb(
            old, ["l.InvoiceLineId", "i.InvoiceDate", "i.CustomerId", "l.TrackId", "i.BillingCountry",
                  "l.UnitPrice * l.Quantity"],
            "InvoiceLine l JOIN Invoice i USING (InvoiceId)")]
    entries = mariadb(old, ["p.Name", "t.PlaylistId", "t.TrackId"], "PlaylistTrack t JOIN Playlist p USING (PlaylistId)")
    wrong = rows = 0
    for table, columns, expected in [
        ("people", "id, kind, name, email, place, helped_by", people),
        ("recordings", "id, name, album, artist, genre, medium, trim_scale(seconds), price",
         [(*row[:6], f"{Decimal(row[6]).normalize():f}", row[7]) for row in recordings]),
        ("sales", "id, sold_at, customer_id, recording_id, country, amount", sold),
        ("list_entries", "list, playlist, recording_id", entries),
    ]:
        rows += len(expected)
        wrong += differences(table, expected, postgres(new, f"SELECT {columns} FROM {table}"))
    return wrong, rows


def main():
    kind, old, new, folder = sys.argv[1:]
    wrong, rows = {"shop": shop, "sales": sales}[kind](old, new, folder)
    print(f"{rows} rows expected; {wrong} tables differ", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
