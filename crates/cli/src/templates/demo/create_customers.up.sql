CREATE TABLE customers (
    id     integer PRIMARY KEY,
    name   text NOT NULL,
    points integer NOT NULL
);
-- The shop's customers as they are before the release.
WITH RECURSIVE
    number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 5000),
    first (i, name) AS (
        VALUES (0, 'Ada'), (1, 'Barbara'), (2, 'Edgar'), (3, 'Edsger'), (4, 'Frances'),
               (5, 'Grace'), (6, 'John'), (7, 'Kathleen'), (8, 'Tony'), (9, 'Zuse')
    ),
    last (i, name) AS (
        VALUES (0, 'Allen'), (1, 'Booth'), (2, 'Codd'), (3, 'Dijkstra'), (4, 'Hoare'),
               (5, 'Hopper'), (6, 'Konrad'), (7, 'Liskov'), (8, 'Lovelace'), (9, 'McCarthy')
    )
INSERT INTO customers (id, name, points)
SELECT n, first.name || ' ' || last.name, n * 37 % 500
FROM number
JOIN first ON first.i = n % 10
JOIN last ON last.i = n / 10 % 10;
