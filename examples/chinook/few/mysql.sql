-- Chinook's tables as its MySQL edition has them, for the few rows of rows.sql.
CREATE TABLE Artist (ArtistId INT NOT NULL PRIMARY KEY, Name NVARCHAR(120));
CREATE TABLE Album (
  AlbumId INT NOT NULL PRIMARY KEY, Title NVARCHAR(160) NOT NULL,
  ArtistId INT NOT NULL REFERENCES Artist (ArtistId)
);
CREATE TABLE Genre (GenreId INT NOT NULL PRIMARY KEY, Name NVARCHAR(120));
CREATE TABLE MediaType (MediaTypeId INT NOT NULL PRIMARY KEY, Name NVARCHAR(120));
CREATE TABLE Employee (
  EmployeeId INT NOT NULL PRIMARY KEY, LastName NVARCHAR(20) NOT NULL,
  FirstName NVARCHAR(20) NOT NULL, Title NVARCHAR(30), ReportsTo INT REFERENCES Employee (EmployeeId),
  BirthDate DATETIME, HireDate DATETIME, Address NVARCHAR(70), City NVARCHAR(40),
  State NVARCHAR(40), Country NVARCHAR(40), PostalCode NVARCHAR(10), Phone NVARCHAR(24),
  Fax NVARCHAR(24), Email NVARCHAR(60)
);
CREATE TABLE Customer (
  CustomerId INT NOT NULL PRIMARY KEY, FirstName NVARCHAR(40) NOT NULL,
  LastName NVARCHAR(20) NOT NULL, Company NVARCHAR(80), Address NVARCHAR(70), City NVARCHAR(40),
  State NVARCHAR(40), Country NVARCHAR(40), PostalCode NVARCHAR(10), Phone NVARCHAR(24),
  Fax NVARCHAR(24), Email NVARCHAR(60) NOT NULL, SupportRepId INT REFERENCES Employee (EmployeeId)
);
CREATE TABLE Track (
  TrackId INT NOT NULL PRIMARY KEY, Name NVARCHAR(200) NOT NULL,
  AlbumId INT REFERENCES Album (AlbumId), MediaTypeId INT NOT NULL REFERENCES MediaType (MediaTypeId),
  GenreId INT REFERENCES Genre (GenreId), Composer NVARCHAR(220), Milliseconds INT NOT NULL,
  Bytes INT, UnitPrice NUMERIC(10,2) NOT NULL
);
CREATE TABLE Invoice (
  InvoiceId INT NOT NULL PRIMARY KEY, CustomerId INT NOT NULL REFERENCES Customer (CustomerId),
  InvoiceDate DATETIME NOT NULL, BillingAddress NVARCHAR(70), BillingCity NVARCHAR(40),
  BillingState NVARCHAR(40), BillingCountry NVARCHAR(40), BillingPostalCode NVARCHAR(10),
  Total NUMERIC(10,2) NOT NULL
);
CREATE TABLE InvoiceLine (
  InvoiceLineId INT NOT NULL PRIMARY KEY, InvoiceId INT NOT NULL REFERENCES Invoice (InvoiceId),
  TrackId INT NOT NULL REFERENCES Track (TrackId), UnitPrice NUMERIC(10,2) NOT NULL,
  Quantity INT NOT NULL
);
CREATE TABLE Playlist (PlaylistId INT NOT NULL PRIMARY KEY, Name NVARCHAR(120));
CREATE TABLE PlaylistTrack (
  PlaylistId INT NOT NULL REFERENCES Playlist (PlaylistId), TrackId INT NOT NULL REFERENCES Track (TrackId),
  PRIMARY KEY (PlaylistId, TrackId)
);
