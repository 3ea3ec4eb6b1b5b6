-- The shop as it has been for years: nothing refers to anything that the database knows of.
CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL, email text NOT NULL);

CREATE TABLE orders (
  id integer PRIMARY KEY,
  customer_id integer,
  state integer NOT NULL,       -- 0 open, 1 paid, 2 sent
  first_item text NOT NULL,
  second_item text,
  ordered_on text NOT NULL
);

-- Every five hundredth has come back with another account: Ann@ is ann@.
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
INSERT INTO customers
SELECT i, 'Ann' || (i - (i % 500 = 0)) || ' Smith',
  CASE WHEN i % 500 = 0 THEN 'ANN' || (i - 1) ELSE 'ann' || i END || '@example.org'
FROM n;

-- Two are of customers that are gone.
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
INSERT INTO orders
SELECT i, CASE WHEN i IN (700, 1401) THEN 5000 + i ELSE 1 + i * 7 % 1000 END, i % 3,
  'lamp ' || (i % 40), CASE WHEN i % 2 = 0 THEN 'bulb ' || (i % 9) END, date('2024-01-01', '+' || (i / 10) || ' days')
FROM n;
