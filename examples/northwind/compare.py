#!/usr/bin/env python3
"""Compares Northwind's old database with the new one, row by row and column by column.

Nothing of Dunlin's is used to read rows: psql and mariadb print both sides, and companies are paired
by what `dunlin move ids export` says of their keys. Prints what differs; nothing, and exit code 0,
where nothing does.

    compare.py postgres://…/northwind mariadb-client-arguments FOLDER   # FOLDER: customer.csv, …
"""

import csv
import shlex
import subprocess
import sys
from pathlib import Path


def fields(output):
    return [tuple(None if field == "-" else bytes.fromhex(field).decode() for field in line.split(" "))
            for line in output.splitlines()]


def postgres(url, columns, rest):
    digits = " || ' ' || ".join(
        f"coalesce(encode(convert_to(({column})::text, 'UTF8'), 'hex'), '-')" for column in columns)
    return fields(subprocess.run(
        ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", url, "-c", f"SELECT {digits} FROM {rest}"],
        check=True, capture_output=True, text=True).stdout)


def mariadb(arguments, columns, rest):
    digits = ", ' ', ".join(f"coalesce(hex(CAST({column} AS char)), '-')" for column in columns)
    return fields(subprocess.run(
        ["mariadb", "--no-defaults", *shlex.split(arguments), "--batch", "--skip-column-names",
         "--default-character-set=utf8mb4", "-e", f"SELECT concat({digits}) FROM {rest}"],
        check=True, capture_output=True, text=True).stdout)


def ids(folder, namespace):
    with open(Path(folder) / f"{namespace}.csv", newline="") as file:
        return {row["old"]: row["new"] for row in csv.DictReader(file)}


def differences(name, expected, found):
    lost, new = set(expected) - set(found), set(found) - set(expected)
    if not lost and not new and len(expected) == len(found):
        return 0
    print(f"{name}: {len(lost)} of {len(expected)} rows are lost or changed, {len(new)} are new")
    for row in sorted(lost, key=str)[:3]:
        print("  should be", row)
    for row in sorted(new, key=str)[:3]:
        print("  is       ", row)
    return 1


def main():
    old, new, folder = sys.argv[1:]
    customer, supplier, shipper = (ids(folder, name) for name in ("customer", "supplier", "shipper"))

    def key(keys, place, row):
        return tuple(field if at != place else (None if field is None else keys[field])
                     for at, field in enumerate(row))

    company = ["company_name", "contact_name", "contact_title", "address", "city", "region",
               "postal_code", "country", "phone", "fax"]
    nulls = ["NULL"] * 7
    companies = [key(customer, 0, row) for row in postgres(
        old, ["customer_id", "'customer'", "customer_id", *company, "NULL"], "customers")]
    companies += [key(supplier, 0, row) for row in postgres(
        old, ["supplier_id", "'supplier'", "NULL", *company, "homepage"], "suppliers")]
    companies += [key(shipper, 0, row) for row in postgres(
        old, ["shipper_id", "'shipper'", "NULL", "company_name", *nulls, "phone", "NULL", "NULL"], "shippers")]
    cents = "round({}::numeric, 2)".format
    tables = [
        ("companies", companies,
         ["id", "role", "code", "name", "contact", "contact_title", "address", "city", "region",
          "postal_code", "country", "phone", "fax", "homepage"]),
        ("categories", postgres(old, ["category_id", "category_name", "description",
                                      "upper(encode(picture, 'hex'))"], "categories"),
         ["id", "name", "description", "hex(picture)"]),
        ("products", [key(supplier, 2, row) for row in postgres(
            old, ["product_id", "product_name", "supplier_id", "category_id", "quantity_per_unit",
                  cents("unit_price"), "units_in_stock", "units_on_order", "reorder_level",
                  "(discontinued <> 0)::int"], "products")],
         ["id", "name", "supplier_id", "category_id", "packed_as", "unit_price", "in_stock", "on_order",
          "reorder_at", "discontinued"]),
        ("employees", postgres(
            old, ["employee_id", "first_name || ' ' || last_name", "title_of_courtesy", "title", "birth_date",
                  "hire_date", "address", "city", "country", "home_phone", "extension", "notes",
                  "upper(encode(photo, 'hex'))", "reports_to", "photo_path"], "employees"),
         ["id", "name", "courtesy", "title", "born", "hired", "address", "city", "country", "phone",
          "extension", "notes", "hex(photo)", "reports_to", "photo_path"]),
        ("territories", postgres(
            old, ["territory_id", "btrim(territory_description)", "btrim(region_description)"],
            "territories JOIN region USING (region_id)"), ["code", "name", "region"]),
        ("employee_territories", postgres(old, ["employee_id", "territory_id"], "employee_territories"),
         ["employee_id", "territory"]),
        ("orders", [key(shipper, 3, key(customer, 1, row)) for row in postgres(
            old, ["order_id", "customer_id", "employee_id", "ship_via", "order_date", "required_date",
                  "shipped_date", cents("freight"),
                  "concat_ws(E'\\n', ship_name, ship_address, ship_city, ship_region, ship_postal_code)",
                  "ship_country"], "orders")],
         ["id", "customer_id", "employee_id", "shipper_id", "ordered", "required", "shipped", "freight",
          "ship_to", "ship_country"]),
        ("order_lines", postgres(
            old, ["order_id", "product_id", cents("unit_price"), "quantity", "discount::float8"], "order_details"),
         ["order_id", "product_id", "unit_price", "quantity", "discount"]),
    ]
    wrong = rows = 0
    for table, expected, columns in tables:
        rows += len(expected)
        wrong += differences(table, expected, mariadb(new, columns, table))
    print(f"{rows} rows expected; {wrong} tables differ", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
