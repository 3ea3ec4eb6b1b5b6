-- A few rows of our own in Chinook's shape, for both editions: names that are not there, quotes,
-- letters of many scripts, an employee above another, a track of no album.
INSERT INTO Artist VALUES (1, 'The Waders'), (2, 'Çiğdem & Łukasz'), (3, NULL), (4, '潮の音');
INSERT INTO Album VALUES (1, 'Low Tide', 1), (2, 'It''s "Salt"', 2), (3, 'Nameless', 3), (4, '干潟', 4);
INSERT INTO Genre VALUES (1, 'Rock'), (2, 'Shore'), (3, 'Opéra');
INSERT INTO MediaType VALUES (1, 'MPEG audio file'), (2, 'Protected AAC audio file');
INSERT INTO Employee VALUES
  (1, 'Adler', 'Ida', 'General Manager', NULL, '1962-02-18 00:00:00', '2002-08-14 00:00:00',
   '11120 Jasper Ave NW', 'Edmonton', 'AB', 'Canada', 'T5K 2N1', '+1 (780) 428-9482', NULL, 'Ida@waders.example');
INSERT INTO Employee VALUES
  (2, 'O''Brien', 'Nancy', 'Sales Manager', 1, '1958-12-08 00:00:00', '2002-05-01 00:00:00',
   '825 8 Ave SW', 'Calgary', 'AB', 'Canada', 'T2P 2T3', NULL, '+1 (403) 262-3322', 'nancy@WADERS.example'),
  (3, 'Weiß', 'Jürgen', NULL, 2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'j.weiss@waders.example');
INSERT INTO Customer VALUES
  (1, 'Luís', 'Gonçalves', 'Embraer', 'Av. Brigadeiro Faria Lima, 2170', 'São José dos Campos', 'SP',
   'Brazil', '12227-000', '+55 (12) 3923-5555', NULL, 'LuisG@embraer.example', 3),
  (2, 'Leonie', 'Köhler', NULL, 'Theodor-Heuss-Straße 34', 'Stuttgart', NULL, 'Germany', '70174',
   '+49 0711 2842222', '', 'leonekohler@surfeu.example', 2),
  (3, 'François', 'Tremblay', NULL, '1498 rue Bélanger', 'Montréal', 'QC', 'Canada', 'H2G 1A7', NULL,
   NULL, 'ftremblay@gmail.example', NULL),
  (4, 'Nobody', 'Anywhere', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'NOBODY@nowhere.example', 3);
INSERT INTO Track VALUES
  (1, 'Plover', 1, 1, 1, 'Ida Adler, N. O''Brien', 343719, 11170334, 0.99),
  (2, 'Sanderling''s Run', 1, 2, 1, NULL, 342562, 5510424, 0.99),
  (3, '千鳥', 4, 2, 2, '潮', 230619, 3990994, 1.99),
  (4, 'Ruff (Live)', 2, 1, 3, 'Çiğdem', 252051, 4331779, 0.99),
  (5, 'Of no album', NULL, 1, NULL, NULL, 1, NULL, 0),
  (6, 'A film', 3, 2, 2, '', 2927802, 2147483647, 19.90);
INSERT INTO Invoice VALUES
  (1, 2, '2009-01-01 00:00:00', 'Theodor-Heuss-Straße 34', 'Stuttgart', NULL, 'Germany', '70174', 1.98),
  (2, 1, '2009-12-31 23:59:59', 'Av. Brigadeiro Faria Lima, 2170', 'São José dos Campos', 'SP', 'Brazil',
   '12227-000', 25.86),
  (3, 3, '2010-02-28 12:30:00', NULL, NULL, NULL, NULL, NULL, 0);
INSERT INTO InvoiceLine VALUES
  (1, 1, 2, 0.99, 1), (2, 1, 4, 0.99, 1), (3, 2, 6, 19.90, 1), (4, 2, 3, 1.99, 2), (5, 2, 4, 0.99, 2),
  (6, 3, 5, 0, 7);
INSERT INTO Playlist VALUES (1, 'Music'), (8, 'Music'), (3, NULL), (5, 'Empty');
INSERT INTO PlaylistTrack VALUES (1, 1), (1, 2), (1, 3), (1, 4), (8, 1), (8, 6), (8, 3);
