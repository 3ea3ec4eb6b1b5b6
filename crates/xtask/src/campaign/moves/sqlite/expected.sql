-- What the old rows must become, a line each: table, natural key, what it says. Rows are named by
-- what they say, never by ids. Run in the old database.
CREATE TEMPORARY VIEW person AS SELECT id, lower(mail) AS mail FROM people;
CREATE TEMPORARY VIEW entry AS
  SELECT e.*, j.code AS job_code, p.mail AS person_mail,
    coalesce(words, '') GLOB 'State went from ?* to ?*.' AND instr(words, char(10)) = 0
      AND length(words) - length(replace(words, ' ', '')) = 5 AS moved,
    coalesce(words, '') GLOB 'Taken by ?*.' AND instr(words, char(10)) = 0
      AND length(words) - length(replace(words, ' ', '')) = 2 AS taken,
    coalesce(words, '') <> '' OR file_name IS NOT NULL AS filled
  FROM entries e JOIN jobs j ON j.id = e.job LEFT JOIN person p ON p.id = e.person;
SELECT json_array('teams', CAST(id AS text),
  json_array(coalesce(title, 'No name'), julianday(made))) FROM clubs;
SELECT json_array('accounts', lower(mail), json_array(code, trim(first || ' ' || last),
    CASE standing WHEN 'New' THEN 'pending' ELSE lower(standing) END,
    CASE WHEN phone <> '' THEN phone END, CASE WHEN address <> '' THEN address END,
    julianday(joined)))
  FROM people WHERE id IN (SELECT min(id) FROM people GROUP BY lower(mail));
SELECT json_array('memberships', p.mail || ' ' || c.id, json_array(lower(s.standing)))
  FROM seats s JOIN person p ON p.id = s.person JOIN clubs c ON c.id = s.club
  WHERE s.id IN (SELECT min(s.id) FROM seats s JOIN person p ON p.id = s.person
    GROUP BY p.mail, s.club);
SELECT json_array('tags', word, json_array(word)) FROM labels;
SELECT json_array('tasks', j.code, json_array(
    CASE WHEN j.title <> '' THEN j.title ELSE 'Untitled @VERSION@' END,
    lower(substr(kind, 1, length(kind) - 3)), lower(stage), due, o.mail, t.mail, c.id,
    (SELECT k.code FROM jobs k WHERE k.id = j.copy_of), julianday(j.made), julianday(done), c.title,
    CASE j.stage WHEN 'Open' THEN 'open' WHEN 'Done' THEN 'done' END, l.word))
  FROM jobs j LEFT JOIN person o ON o.id = j.owner LEFT JOIN person t ON t.id = j.taker
    LEFT JOIN clubs c ON c.id = j.club LEFT JOIN labels l ON l.id = j.label;
SELECT json_array('signoffs', j.code || ' first', json_array(p.mail))
  FROM jobs j JOIN person p ON p.id = first_ok;
SELECT json_array('signoffs', j.code || ' second', json_array(p.mail))
  FROM jobs j JOIN person p ON p.id = second_ok;
SELECT json_array('signoffs', j.code || ' third', json_array(p.mail))
  FROM jobs j JOIN person p ON p.id = third_ok;
SELECT json_array('notes', code, json_array(job_code, person_mail, coalesce(words, ''),
    julianday(made))) FROM entry WHERE filled AND NOT moved AND NOT taken;
SELECT json_array('events', code, json_array(job_code, person_mail, 'moved',
    substr(words, 17, instr(substr(words, 17), ' ') - 1),
    rtrim(substr(words, 17 + instr(substr(words, 17), ' to ') + 3), '.'), julianday(made)))
  FROM entry WHERE moved;
SELECT json_array('events', code, json_array(job_code, person_mail, 'taken', NULL,
    rtrim(substr(words, 10), '.'), julianday(made))) FROM entry WHERE taken;
SELECT json_array('files', code, json_array(job_code,
    CASE WHEN NOT moved AND NOT taken THEN code END, file_name, coalesce(file_size, 0),
    'tasks/' || job_code || '/' || id || '-' || replace(file_name, '/', '_')))
  FROM entry WHERE file_name IS NOT NULL;
SELECT json_array('notices', a.code, json_array(p.mail, j.code, e.code,
    a.words || ' @VERSION@', seen))
  FROM alerts a JOIN person p ON p.id = a.person
    LEFT JOIN jobs j ON about = 'job' AND j.id = about_id
    LEFT JOIN entry e ON about = 'entry' AND e.id = about_id AND filled AND NOT moved AND NOT taken
  WHERE j.id IS NOT NULL OR e.id IS NOT NULL;
