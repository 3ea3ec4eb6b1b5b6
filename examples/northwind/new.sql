-- A trader's new database on MariaDB, as its own migrations made it. Customers and suppliers have
-- become companies; numbers are kept, the five letters of a customer are not.
CREATE TABLE companies (
  id uuid PRIMARY KEY, role enum('customer', 'supplier', 'shipper') NOT NULL,
  code varchar(5), name varchar(80) NOT NULL, contact varchar(80), contact_title varchar(60),
  address varchar(120), city varchar(30), region varchar(30), postal_code varchar(20),
  country varchar(30), phone varchar(40), fax varchar(40), homepage text, UNIQUE (role, code)
);
CREATE TABLE categories (
  id integer AUTO_INCREMENT PRIMARY KEY, name varchar(30) NOT NULL UNIQUE, description text,
  picture longblob
);
CREATE TABLE products (
  id integer AUTO_INCREMENT PRIMARY KEY, name varchar(80) NOT NULL, supplier_id uuid,
  category_id integer, packed_as varchar(40), unit_price decimal(10,2), in_stock integer NOT NULL,
  on_order integer NOT NULL, reorder_at integer NOT NULL, discontinued boolean NOT NULL,
  FOREIGN KEY (supplier_id) REFERENCES companies (id),
  FOREIGN KEY (category_id) REFERENCES categories (id)
);
CREATE TABLE employees (
  id integer AUTO_INCREMENT PRIMARY KEY, name varchar(80) NOT NULL, courtesy varchar(25),
  title varchar(60), born date, hired date, address varchar(120), city varchar(30),
  country varchar(30), phone varchar(40), extension varchar(8), notes text, photo longblob,
  reports_to integer, photo_path varchar(255), FOREIGN KEY (reports_to) REFERENCES employees (id)
);
CREATE TABLE territories (
  code char(5) PRIMARY KEY, name varchar(60) NOT NULL, region varchar(60) NOT NULL
);
CREATE TABLE employee_territories (
  employee_id integer NOT NULL, territory char(5) NOT NULL, PRIMARY KEY (employee_id, territory),
  FOREIGN KEY (employee_id) REFERENCES employees (id),
  FOREIGN KEY (territory) REFERENCES territories (code)
);
CREATE TABLE orders (
  id integer AUTO_INCREMENT PRIMARY KEY, customer_id uuid, employee_id integer, shipper_id uuid,
  ordered date, required date, shipped date, freight decimal(10,2), ship_to text NOT NULL,
  ship_country varchar(30),
  FOREIGN KEY (customer_id) REFERENCES companies (id),
  FOREIGN KEY (employee_id) REFERENCES employees (id),
  FOREIGN KEY (shipper_id) REFERENCES companies (id)
);
CREATE TABLE order_lines (
  order_id integer NOT NULL, product_id integer NOT NULL, unit_price decimal(10,2) NOT NULL,
  quantity integer NOT NULL, discount double NOT NULL, PRIMARY KEY (order_id, product_id),
  FOREIGN KEY (order_id) REFERENCES orders (id), FOREIGN KEY (product_id) REFERENCES products (id)
);
