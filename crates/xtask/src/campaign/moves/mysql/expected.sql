-- What the old rows must become, a line each, in hexadecimal digits: table, natural key, what it
-- says. Rows are named by what they say, never by ids. Run in the old database.
SET time_zone = '+00:00';
CREATE TEMPORARY TABLE person AS SELECT id, lower(mail) AS mail FROM people;
CREATE TEMPORARY TABLE entry AS
  SELECT e.*, j.code AS job_code, p.mail AS person_mail,
    coalesce(words, '') RLIKE '^State went from [A-Za-z]+ to [A-Za-z]+[.]$' AS moved,
    coalesce(words, '') RLIKE '^Taken by [A-Za-z]+[.]$' AS taken,
    coalesce(words, '') <> '' OR file_name IS NOT NULL AS filled
  FROM entries e JOIN jobs j ON j.id = e.job LEFT JOIN person p ON p.id = e.person;
SELECT hex(json_array('teams', CAST(id AS char),
  json_array(coalesce(title, 'No name'), CAST(made AS char(19))))) FROM clubs;
SELECT hex(json_array('accounts', lower(mail), json_array(code, trim(concat(first, ' ', last)),
    CASE standing WHEN 'New' THEN 'pending' ELSE lower(standing) END,
    CASE WHEN phone <> '' THEN phone END, CASE WHEN address <> '' THEN address END,
    CAST(joined AS char(19)))))
  FROM people WHERE id IN (SELECT min(id) FROM people GROUP BY lower(mail));
SELECT hex(json_array('memberships', concat(p.mail, ' ', c.id), json_array(lower(s.standing))))
  FROM seats s JOIN person p ON p.id = s.person JOIN clubs c ON c.id = s.club
  WHERE s.id IN (SELECT min(s.id) FROM seats s JOIN person p ON p.id = s.person
    GROUP BY p.mail, s.club);
SELECT hex(json_array('tags', word, json_array(word))) FROM labels;
SELECT hex(json_array('tasks', j.code, json_array(
    CASE WHEN j.title <> '' THEN j.title ELSE 'Untitled @VERSION@' END,
    lower(left(kind, char_length(kind) - 3)), lower(stage), due, o.mail, t.mail, c.id,
    (SELECT k.code FROM jobs k WHERE k.id = j.copy_of), CAST(j.made AS char(19)),
    CAST(done AS char(19)), c.title,
    CASE j.stage WHEN 'Open' THEN 'open' WHEN 'Done' THEN 'done' END, l.word)))
  FROM jobs j LEFT JOIN person o ON o.id = j.owner LEFT JOIN person t ON t.id = j.taker
    LEFT JOIN clubs c ON c.id = j.club LEFT JOIN labels l ON l.id = j.label;
SELECT hex(json_array('signoffs', concat(j.code, ' first'), json_array(p.mail)))
  FROM jobs j JOIN person p ON p.id = first_ok;
SELECT hex(json_array('signoffs', concat(j.code, ' second'), json_array(p.mail)))
  FROM jobs j JOIN person p ON p.id = second_ok;
SELECT hex(json_array('signoffs', concat(j.code, ' third'), json_array(p.mail)))
  FROM jobs j JOIN person p ON p.id = third_ok;
SELECT hex(json_array('notes', code, json_array(job_code, person_mail, coalesce(words, ''),
    CAST(made AS char(19))))) FROM entry WHERE filled AND NOT moved AND NOT taken;
SELECT hex(json_array('events', code, json_array(job_code, person_mail, 'moved',
    substring_index(substring_index(words, ' ', 4), ' ', -1),
    trim(TRAILING '.' FROM substring_index(words, ' ', -1)), CAST(made AS char(19)))))
  FROM entry WHERE moved;
SELECT hex(json_array('events', code, json_array(job_code, person_mail, 'taken', NULL,
    trim(TRAILING '.' FROM substring_index(words, ' ', -1)), CAST(made AS char(19)))))
  FROM entry WHERE taken;
SELECT hex(json_array('files', code, json_array(job_code,
    CASE WHEN NOT moved AND NOT taken THEN code END, file_name, coalesce(file_size, 0),
    concat('tasks/', job_code, '/', id, '-', replace(file_name, '/', '_')))))
  FROM entry WHERE file_name IS NOT NULL;
SELECT hex(json_array('notices', a.code, json_array(p.mail, j.code, e.code,
    concat(a.words, ' @VERSION@'), a.seen)))
  FROM alerts a JOIN person p ON p.id = a.person
    LEFT JOIN jobs j ON about = 'job' AND j.id = about_id
    LEFT JOIN entry e ON about = 'entry' AND e.id = about_id AND filled AND NOT moved AND NOT taken
  WHERE j.id IS NOT NULL OR e.id IS NOT NULL;
