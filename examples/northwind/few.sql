-- Northwind's tables as its PostgreSQL edition has them, with a few rows of our own.
CREATE TABLE categories (
  category_id smallint PRIMARY KEY, category_name varchar(15) NOT NULL, description text, picture bytea
);
CREATE TABLE customer_demographics (customer_type_id varchar(5) PRIMARY KEY, customer_desc text);
CREATE TABLE customers (
  customer_id varchar(5) PRIMARY KEY, company_name varchar(40) NOT NULL, contact_name varchar(30),
  contact_title varchar(30), address varchar(60), city varchar(15), region varchar(15),
  postal_code varchar(10), country varchar(15), phone varchar(24), fax varchar(24)
);
CREATE TABLE customer_customer_demo (
  customer_id varchar(5) REFERENCES customers, customer_type_id varchar(5) REFERENCES customer_demographics,
  PRIMARY KEY (customer_id, customer_type_id)
);
CREATE TABLE employees (
  employee_id smallint PRIMARY KEY, last_name varchar(20) NOT NULL, first_name varchar(10) NOT NULL,
  title varchar(30), title_of_courtesy varchar(25), birth_date date, hire_date date,
  address varchar(60), city varchar(15), region varchar(15), postal_code varchar(10),
  country varchar(15), home_phone varchar(24), extension varchar(4), photo bytea, notes text,
  reports_to smallint REFERENCES employees, photo_path varchar(255)
);
CREATE TABLE region (region_id smallint PRIMARY KEY, region_description varchar(60) NOT NULL);
CREATE TABLE territories (
  territory_id varchar(20) PRIMARY KEY, territory_description varchar(60) NOT NULL,
  region_id smallint NOT NULL REFERENCES region
);
CREATE TABLE employee_territories (
  employee_id smallint REFERENCES employees, territory_id varchar(20) REFERENCES territories,
  PRIMARY KEY (employee_id, territory_id)
);
CREATE TABLE shippers (shipper_id smallint PRIMARY KEY, company_name varchar(40) NOT NULL, phone varchar(24));
CREATE TABLE suppliers (
  supplier_id smallint PRIMARY KEY, company_name varchar(40) NOT NULL, contact_name varchar(30),
  contact_title varchar(30), address varchar(60), city varchar(15), region varchar(15),
  postal_code varchar(10), country varchar(15), phone varchar(24), fax varchar(24), homepage text
);
CREATE TABLE products (
  product_id smallint PRIMARY KEY, product_name varchar(40) NOT NULL,
  supplier_id smallint REFERENCES suppliers, category_id smallint REFERENCES categories,
  quantity_per_unit varchar(20), unit_price real, units_in_stock smallint, units_on_order smallint,
  reorder_level smallint, discontinued integer NOT NULL
);
CREATE TABLE orders (
  order_id smallint PRIMARY KEY, customer_id varchar(5) REFERENCES customers,
  employee_id smallint REFERENCES employees, order_date date, required_date date, shipped_date date,
  ship_via smallint REFERENCES shippers, freight real, ship_name varchar(40), ship_address varchar(60),
  ship_city varchar(15), ship_region varchar(15), ship_postal_code varchar(10), ship_country varchar(15)
);
CREATE TABLE order_details (
  order_id smallint REFERENCES orders, product_id smallint REFERENCES products, unit_price real NOT NULL,
  quantity smallint NOT NULL, discount real NOT NULL, PRIMARY KEY (order_id, product_id)
);
CREATE TABLE us_states (
  state_id smallint PRIMARY KEY, state_name varchar(100), state_abbr varchar(2), state_region varchar(50)
);

INSERT INTO us_states VALUES (1, 'Alabama', 'AL', 'south');
INSERT INTO categories VALUES
  (1, 'Beverages', 'Soft drinks, coffees, teas, beers, and ales', '\x'), (2, 'Condiments', NULL, '\x00ff10'),
  (3, 'Käse', '', NULL);
INSERT INTO customers VALUES
  ('WADER', 'Strandläufer GmbH', 'Maria Anders', 'Sales Representative', 'Obere Str. 57', 'Berlin', NULL,
   '12209', 'Germany', '030-0074321', '030-0076545'),
  ('PLOVE', 'Plover''s "Nest"', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  ('SAND1', 'Sanderling & Söhne', 'Hanna Moos', 'Owner', '23 Tsawassen Blvd.', 'Tsawassen', 'BC',
   'T2F 8M4', 'Canada', '(604) 555-4729', '');
INSERT INTO employees VALUES
  (2, 'Fuller', 'Andrew', 'Vice President, Sales', 'Dr.', '1952-02-19', '1992-08-14', '908 W. Capital Way',
   'Tacoma', 'WA', '98401', 'USA', '(206) 555-9482', '3457', '\x', 'Fluent in French.' || E'\n' || 'Reads “German”.',
   NULL, 'http://accweb/emmployees/fuller.bmp'),
  (1, 'Davolio', 'Nancy', NULL, 'Ms.', NULL, '1992-05-01', NULL, 'Seattle', 'WA', '98122', 'USA', NULL, NULL,
   '\xdeadbeef', NULL, 2, NULL),
  (9, 'Dodsworth', 'Anne', 'Sales Representative', 'Ms.', '1966-01-27', NULL, '7 Houndstooth Rd.', 'London', NULL,
   'WG2 7LT', 'UK', '(71) 555-4444', '452', NULL, 'Anne.', 1, NULL);
INSERT INTO region VALUES (1, 'Eastern   '), (2, 'Western');
INSERT INTO territories VALUES ('01581', 'Westboro  ', 1), ('98004', 'Bellevue', 2), ('98052', ' Redmond ', 2);
INSERT INTO employee_territories VALUES (1, '01581'), (2, '01581'), (9, '98004');
INSERT INTO shippers VALUES (1, 'Speedy Express', '(503) 555-9831'), (2, 'United Package', NULL);
INSERT INTO suppliers VALUES
  (1, 'Exotic Liquids', 'Charlotte Cooper', 'Purchasing Manager', '49 Gilbert St.', 'London', NULL, 'EC1 4SD',
   'UK', '(171) 555-2222', NULL, NULL),
  (2, 'Tokyo 商店', 'Yoshi Nagase', NULL, '9-8 Sekimai', 'Tokyo', NULL, '100', 'Japan', '(03) 3555-5011', NULL,
   'Mayumi''s (on the World Wide Web)#http://example.com/mayumi.htm#');
INSERT INTO products VALUES
  (1, 'Chai', 1, 1, '10 boxes x 30 bags', 18, 39, 0, 10, 1), (2, 'Chang', 1, 1, '24 - 12 oz bottles', 19.45, 17, 40, 25, 0),
  (11, 'Queso Cabrales', 2, 3, NULL, 21.05, 22, 30, 30, 0), (12, 'Of nobody', NULL, NULL, NULL, 0.1, 0, 0, 0, 0);
INSERT INTO orders VALUES
  (10248, 'WADER', 1, '1996-07-04', '1996-08-01', '1996-07-16', 1, 32.38, 'Vins et alcools Chevalier',
   '59 rue de l''Abbaye', 'Reims', NULL, '51100', 'France'),
  (10249, 'SAND1', 9, '1996-07-05', NULL, NULL, 2, 0.02, 'Toms Spezialitäten', 'Luisenstr. 48', 'Münster', '', '44087',
   'Germany'),
  (10250, NULL, NULL, NULL, NULL, NULL, NULL, 1007.64, 'Nobody', NULL, NULL, NULL, NULL, NULL);
INSERT INTO order_details VALUES
  (10248, 11, 14, 12, 0), (10248, 2, 9.8, 10, 0.15), (10249, 11, 18.6, 9, 0.05), (10250, 1, 0.07, 32767, 0.25);
