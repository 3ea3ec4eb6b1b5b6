-- A music shop's new database, as its own migrations made it: names in snake case, UUIDs for keys.
CREATE TABLE artists (id uuid PRIMARY KEY, name text NOT NULL);
CREATE TABLE albums (
  id uuid PRIMARY KEY, title text NOT NULL, artist_id uuid NOT NULL REFERENCES artists
);
CREATE TABLE genres (id uuid PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE media_types (id uuid PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE employees (
  id uuid PRIMARY KEY, first_name text NOT NULL, last_name text NOT NULL, title text,
  reports_to_id uuid REFERENCES employees, birth_date date, hired_at timestamptz,
  address text, city text, state text, country text, postal_code text, phone text, fax text,
  email text UNIQUE
);
CREATE TABLE customers (
  id uuid PRIMARY KEY, first_name text NOT NULL, last_name text NOT NULL, company text,
  address text, city text, state text, country text, postal_code text, phone text, fax text,
  email text NOT NULL UNIQUE, support_rep_id uuid REFERENCES employees
);
CREATE TABLE tracks (
  id uuid PRIMARY KEY, name text NOT NULL, album_id uuid REFERENCES albums,
  media_type_id uuid NOT NULL REFERENCES media_types, genre_id uuid REFERENCES genres,
  composer text, milliseconds integer NOT NULL, bytes bigint, unit_price numeric(10,2) NOT NULL
);
CREATE TABLE invoices (
  id uuid PRIMARY KEY, customer_id uuid NOT NULL REFERENCES customers, invoiced_at timestamptz NOT NULL,
  billing_address text, billing_city text, billing_state text, billing_country text,
  billing_postal_code text, total numeric(10,2) NOT NULL
);
CREATE TABLE invoice_lines (
  id uuid PRIMARY KEY, invoice_id uuid NOT NULL REFERENCES invoices,
  track_id uuid NOT NULL REFERENCES tracks, unit_price numeric(10,2) NOT NULL,
  quantity integer NOT NULL CHECK (quantity > 0)
);
CREATE TABLE playlists (id uuid PRIMARY KEY, name text NOT NULL);
CREATE TABLE playlist_tracks (
  playlist_id uuid NOT NULL REFERENCES playlists, track_id uuid NOT NULL REFERENCES tracks,
  PRIMARY KEY (playlist_id, track_id)
);
