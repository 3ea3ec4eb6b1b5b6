use dunlin_model::Dialect::{Mysql, Postgres, Sqlite};

use super::{parse, refused, texts};

#[test]
fn statements_without_delimiter_comments_and_white_space() {
    let text = "\u{feff}-- header\r\n\r\n/* a; b */ SELECT 1 ; ;; -- tail\r\n\tSELECT /* x */ 'é;' , 2 -- end\n";
    for dialect in [Postgres, Mysql, Sqlite] {
        let script = parse(dialect, text).unwrap();
        let found: Vec<_> =
            script.statements.iter().map(|s| (s.text.as_str(), s.line, s.column)).collect();
        assert_eq!(found, [("SELECT 1", 3, 12), ("SELECT /* x */ 'é;' , 2", 4, 2)], "{dialect}");
    }
}

#[test]
fn columns_count_characters_and_not_the_byte_order_mark() {
    let script = parse(Postgres, "\u{feff}SELECT 'ü'; SELECT 2").unwrap();
    assert_eq!((script.statements[0].line, script.statements[0].column), (1, 1));
    assert_eq!((script.statements[1].line, script.statements[1].column), (1, 13));
}

#[test]
fn an_empty_file_has_no_statements() {
    for text in ["", "\u{feff}", "-- nothing yet\n", " ;\n; ", "/* a */"] {
        assert!(texts(Postgres, text).is_empty(), "{text:?}");
    }
}

#[test]
fn postgres_quotes() {
    let one = [
        r"SELECT $a$ ; $b$ ; $a; $$ ; $a$",
        r"DO $outer$ BEGIN EXECUTE $in$ SELECT ';' $in$; PERFORM $$;$$; END $outer$",
        r"SELECT E'it\'s ; here', 'back\', ';'",
        "SELECT E'a'\n  -- note; here\n  'b\\'; c'",
        r#"SELECT U&'d\0061t;a', "a;""b", U&"d;x" UESCAPE '!'"#,
        "SELECT /* a /* b; */ c; */ 1",
        "SELECT 'a''b;', b'1', x'f', n';'",
        "SELECT $1, a$b$c FROM t WHERE a$x > 1",
        "SELECT @-1, 2 -- c;\n, 3",
    ];
    for text in one {
        assert_eq!(texts(Postgres, &format!("{text};")), [text]);
        assert_eq!(texts(Postgres, text), [text]);
    }
    assert_eq!(texts(Postgres, r"SELECT 'a\'; SELECT 2"), [r"SELECT 'a\'", "SELECT 2"]);
    assert_eq!(texts(Postgres, "SELECT 1$a$;$a$; SELECT 2").len(), 2);
}

#[test]
fn old_dumps_change_how_strings_are_read() {
    let text = "SET standard_conforming_strings = off;\nSELECT 'it\\'s; one';\n\
                SET standard_conforming_strings TO 'on';\nSELECT 'a\\'; SELECT 2;";
    let found = texts(Postgres, text);
    assert_eq!(found[1], "SELECT 'it\\'s; one'");
    assert_eq!(found[3..], ["SELECT 'a\\'", "SELECT 2"]);
}

#[test]
fn sql_mode_changes_how_quotes_are_read() {
    let text = "SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES';\n\
                INSERT INTO \"a\\\" VALUES ('C:\\'); SELECT 'x';\n\
                SET @@sql_mode := '';\nSELECT 'it\\'s; one', \"a\\\"; b\";";
    let found = texts(Mysql, text);
    assert_eq!(found[1..3], ["INSERT INTO \"a\\\" VALUES ('C:\\')", "SELECT 'x'"]);
    assert_eq!(found[4..], ["SELECT 'it\\'s; one', \"a\\\"; b\""]);
    for (setting, plain) in [
        ("SET sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')", true),
        ("/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_BACKSLASH_ESCAPES' */", true),
        ("SET sql_mode = REPLACE(@@sql_mode, 'NO_BACKSLASH_ESCAPES', '')", false),
        ("SET sql_mode = @old", false),
        ("SET sql_mode = DEFAULT", false),
        ("SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES'", false),
    ] {
        let count = texts(Mysql, &format!("{setting};\nSELECT 'a\\'; SELECT 2; -- '")).len();
        assert_eq!(count, if plain { 3 } else { 2 }, "{setting}");
    }
}

#[test]
fn postgres_bodies() {
    let function = "CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC \
                    SELECT CASE WHEN a > 1 THEN 1 ELSE 2 END; SELECT 2; END";
    assert_eq!(texts(Postgres, &format!("{function}; SELECT 1;")), [function, "SELECT 1"]);
    let rule = "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO a VALUES (1); DELETE FROM b)";
    assert_eq!(texts(Postgres, &format!("{rule};SELECT 1")), [rule, "SELECT 1"]);
    // A word END or ATOMIC elsewhere opens and closes nothing.
    let plain = "SELECT 1 AS begin, atomic AS end FROM t";
    assert_eq!(texts(Postgres, &format!("{plain}; SELECT 2")), [plain, "SELECT 2"]);
}

#[test]
fn copy_data_belong_to_their_statement() {
    let text = "COPY public.t (a, b) FROM stdin;\n1\tx;y\n2\t\\N\n\\.\nSELECT 1;\ncopy u from STDIN with (format csv); -- c\n\\.\n";
    let script = parse(Postgres, text).unwrap();
    let found: Vec<_> =
        script.statements.iter().map(|s| (s.text.as_str(), s.copy_data.as_deref())).collect();
    assert_eq!(
        found,
        [
            ("COPY public.t (a, b) FROM stdin", Some("1\tx;y\n2\t\\N\n")),
            ("SELECT 1", None),
            ("copy u from STDIN with (format csv)", Some("")),
        ]
    );
    let crlf = parse(Postgres, "COPY t FROM stdin;\r\n1\r\n\\.\r\nSELECT 1;").unwrap();
    assert_eq!(crlf.statements[0].copy_data.as_deref(), Some("1\r\n"));
    assert_eq!(crlf.statements[1].line, 4);
    assert_eq!(refused(Postgres, "\nCOPY t FROM stdin;\n1\n2\n"), [("unterminated", 2)]);
    assert_eq!(refused(Postgres, "COPY t FROM stdin; SELECT 1;\n1\n\\.\n"), [("copy-data", 1)]);
}

#[test]
fn what_never_ends_is_named_with_its_line() {
    for text in ["\n\n 'a;\n", "\n\n\"a;\n", "\n\n $x$ $y$ $$ ;", "\n\n/* /* */ ", "\n\n E'\\';"] {
        assert_eq!(refused(Postgres, text), [("unterminated", 3)], "{text:?}");
    }
    for text in ["\n'a\\';", "\n`a;", "\n/* a;", "\n/*!50003 SELECT 1;", "\n\"a\\\";"] {
        assert_eq!(refused(Mysql, text), [("unterminated", 2)], "{text:?}");
    }
    for text in ["\n'a", "\n[a;", "\n`a", "\n/*"] {
        assert_eq!(refused(Sqlite, text), [("unterminated", 2)], "{text:?}");
    }
    assert_eq!(refused(Postgres, "SELECT 1;\nSELECT (1;\nSELECT 2;"), [("unterminated", 2)]);
    let trigger = "SELECT 1;\nCREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; SELECT 2;";
    assert_eq!(refused(Sqlite, trigger), [("unterminated", 2)]);
    let procedure = "SELECT 1;\nCREATE PROCEDURE p() BEGIN SELECT 1; IF 1 THEN SELECT 2; END;";
    assert_eq!(refused(Mysql, procedure), [("unterminated", 2)]);
}

#[test]
fn bytes_that_no_server_takes() {
    use crate::directive::Subject;
    let parse = |bytes: &[u8]| {
        let found = super::super::parse_script(
            Postgres,
            std::path::Path::new("a.sql"),
            bytes,
            Subject::SchemaUp,
        );
        let found = found.unwrap_err();
        (found[0].rule, found[0].place.as_ref().and_then(|p| p.line))
    };
    assert_eq!(parse(b"SELECT 1;\nSELECT '\xff';"), ("not-utf8", Some(2)));
    assert_eq!(parse(b"SELECT 1;\n\n\0"), ("nul-byte", Some(3)));
}

#[test]
fn commands_of_client_programs_are_refused() {
    assert_eq!(refused(Postgres, "SELECT 1;\n\\i other.sql\n"), [("psql-meta-command", 2)]);
    assert_eq!(refused(Postgres, "\\connect db\nSELECT 1;"), [("psql-meta-command", 1)]);
    assert_eq!(refused(Postgres, "SELECT 1 \\gset\n"), [("psql-meta-command", 1)]);
    assert_eq!(refused(Mysql, "SELECT 1;\nsource x.sql;"), [("mysql-client-command", 2)]);
    assert_eq!(refused(Mysql, "\n\\. x.sql"), [("mysql-client-command", 2)]);
    assert_eq!(refused(Mysql, "SELECT 1\\G\n"), [("mysql-client-command", 1)]);
    assert_eq!(refused(Sqlite, ".mode csv\n"), [("sqlite-dot-command", 1)]);
    let found = parse(Postgres, "\\set x 1").unwrap_err();
    assert!(found[0].to_string().contains("m/1_a.up.sql:1:1: `\\set`"), "{}", found[0]);
}

#[test]
fn mysql_strings_and_comments() {
    let one = [
        r#"SELECT 'a\';b', "c\";""d", `e;``f`"#,
        "SELECT 5--1, 'x' # no; end\n, 2 -- no; end\n, 3",
        "SELECT 1 /* a; /* b */ + 1",
        "/*!50003 SELECT ';', 1; */",
        "/*!40101 SET NAMES utf8 */",
        "CREATE TABLE t (a INT) /*!50100 PARTITION BY HASH (a) */",
        "/*M!100100 SELECT 1 */",
    ];
    for text in one {
        assert_eq!(texts(Mysql, &format!("{text};\n")), [text]);
    }
    let sandbox = "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump\nSELECT 1;";
    assert_eq!(texts(Mysql, sandbox), ["SELECT 1"]);
    assert_eq!(
        texts(Mysql, "--comment; here\nSELECT 1;#x;\n--\nSELECT 2"),
        ["SELECT 1", "SELECT 2"]
    );
}

#[test]
fn mysql_delimiters_in_any_case() {
    let text = "DELIMITER $$\nCREATE PROCEDURE p()\nBEGIN\n  SELECT 1; SELECT '$$';\nEND$$\n\
                CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.x = 1; $$\n\
                delimiter ;\nSELECT 1; Delimiter //\nSELECT 2//\nSELECT 3; SELECT 4//\nDELIMITER ;\n-- DELIMITER |\n\
                SELECT 'a\nDELIMITER x\n';\nSELECT delimiter FROM d;";
    assert_eq!(
        texts(Mysql, text),
        [
            "CREATE PROCEDURE p()\nBEGIN\n  SELECT 1; SELECT '$$';\nEND",
            "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.x = 1",
            "SELECT 1",
            "SELECT 2",
            "SELECT 3",
            "SELECT 4",
            "SELECT 'a\nDELIMITER x\n'",
            "SELECT delimiter FROM d",
        ]
    );
    assert_eq!(refused(Mysql, "SELECT 1;\nDELIMITER\n"), [("mysql-client-command", 2)]);
    let open = "DELIMITER //\nCREATE PROCEDURE p() BEGIN END\nDELIMITER ;\nSELECT 1;";
    assert_eq!(refused(Mysql, open), [("unterminated", 3)]);
    // As mysqldump writes them.
    let dump = "DELIMITER ;;\n/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b`*/ /*!50003 TRIGGER t \
                AFTER INSERT ON x FOR EACH ROW BEGIN SET @a = 1; END */;;\nDELIMITER ;\n";
    let found = texts(Mysql, dump);
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with("END */"), "{}", found[0]);
}

#[test]
fn mysql_bodies_without_a_delimiter() {
    let bodies = [
        "CREATE DEFINER=`root`@`%` PROCEDURE `p`(IN a INT) BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION \
         BEGIN ROLLBACK; END; IF a > 1 THEN SELECT 1; ELSEIF a THEN SELECT 2; ELSE IF (a) THEN SELECT 3; \
         END IF; END IF; END",
        "CREATE PROCEDURE p() BEGIN l1: LOOP SET @x = REPEAT('a', 2); LEAVE l1; END LOOP l1; WHILE @x DO \
         SET @x = 0; END WHILE; REPEAT SET @y = IF(1, 2, 3); UNTIL 1 END REPEAT; END",
        "CREATE FUNCTION f(a INT) RETURNS INT DETERMINISTIC RETURN CASE WHEN a THEN IF(a, 1, 2) ELSE 3 END",
        "CREATE PROCEDURE p() BEGIN CASE @a WHEN 1 THEN SELECT 1; ELSE BEGIN END; END CASE; SELECT CASE \
         WHEN 1 THEN IF(1, 2, 3) ELSE IF(1, 2, 3) END; END",
        "CREATE TRIGGER t BEFORE UPDATE ON a FOR EACH ROW IF NEW.x THEN SET NEW.y = 1; END IF",
        "CREATE TRIGGER IF NOT EXISTS t BEFORE UPDATE ON `data` FOR EACH ROW SET NEW.y = IF(1, 2, 3)",
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO BEGIN DELETE FROM a WHERE b; DROP TABLE IF EXISTS c; END",
        "CREATE OR REPLACE PROCEDURE p() outer_block: BEGIN FOR i IN 1..3 DO SELECT i; END FOR; END outer_block",
        "BEGIN NOT ATOMIC DECLARE x INT; SELECT 1; END",
        "IF @a THEN SELECT 1; END IF",
    ];
    for body in bodies {
        assert_eq!(texts(Mysql, &format!("{body};\nSELECT 1;")), [body, "SELECT 1"]);
        assert_eq!(texts(Mysql, body), [body]);
    }
}

#[test]
fn sqlite_triggers_and_names() {
    let trigger = "CREATE TEMP TRIGGER IF NOT EXISTS t AFTER UPDATE OF a ON x WHEN CASE new.a WHEN 1 \
                   THEN 0 END BEGIN UPDATE y SET b = CASE WHEN 1 THEN 2 ELSE 3 END; SELECT 'END;'; END";
    assert_eq!(texts(Sqlite, &format!("{trigger};\nSELECT 1;")), [trigger, "SELECT 1"]);
    let names = "SELECT [a;b], \"c;\", `d;`, 'e''f;' FROM t WHERE x = :a AND y = ?1 AND z = $b";
    assert_eq!(texts(Sqlite, &format!("{names}; SELECT 2")), [names, "SELECT 2"]);
    assert_eq!(texts(Sqlite, "SELECT 'a\\'; SELECT 2").len(), 2);
}
