-- The shop's new shape: text ids, real references, an item a row.
CREATE TABLE customers (
  id char(36) PRIMARY KEY,
  email text NOT NULL UNIQUE,
  first_name text NOT NULL,
  last_name text NOT NULL
);

CREATE TABLE orders (
  id char(36) PRIMARY KEY,
  customer_id char(36) NOT NULL REFERENCES customers,
  state text NOT NULL,
  ordered_on date NOT NULL
);

CREATE TABLE order_items (
  order_id char(36) NOT NULL REFERENCES orders,
  position integer NOT NULL,
  product text NOT NULL,
  PRIMARY KEY (order_id, position)
);
