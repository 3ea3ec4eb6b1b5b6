//! How each tool's table looks.

use dunlin_model::{HistoryTool, TableQuery, TableShape};

/// One tool's table. Columns are told by their names: types differ from server to server.
struct Shape {
    tool: HistoryTool,
    table: &'static str,
    /// Columns that it must have.
    needs: &'static [&'static str],
    /// Columns that another tool's table of the same name has.
    lacks: &'static [&'static str],
    /// Columns that are read where they are there.
    reads: &'static [&'static str],
    order_by: &'static [&'static str],
}

/// Tables whose presence tells Rails from dbmate.
const RAILS_METADATA: &str = "ar_internal_metadata";

/// Every table to ask for: those of [`SHAPES`], and Rails' second one.
pub(super) const CANDIDATES: &[&str] = &[
    "schema_migrations",
    RAILS_METADATA,
    "django_migrations",
    "_sqlx_migrations",
    "__diesel_schema_migrations",
    "flyway_schema_history",
    "schema_version",
    "goose_db_version",
    "refinery_schema_history",
    "pgmigrations",
    "seaql_migrations",
    "alembic_version",
    "atlas_schema_revisions",
    "_prisma_migrations",
];

const FLYWAY: &[&str] = &["installed_rank", "version", "type", "script", "success"];
const FLYWAY_READS: &[&str] = &["description", "installed_on"];

const SHAPES: &[Shape] = &[
    Shape {
        tool: HistoryTool::Rails,
        table: "schema_migrations",
        needs: &["version"],
        lacks: &["dirty", "inserted_at"],
        reads: &[],
        order_by: &["version"],
    },
    Shape {
        tool: HistoryTool::Ecto,
        table: "schema_migrations",
        needs: &["version", "inserted_at"],
        lacks: &["dirty"],
        reads: &[],
        order_by: &["version"],
    },
    Shape {
        tool: HistoryTool::Django,
        table: "django_migrations",
        needs: &["id", "app", "name"],
        lacks: &[],
        reads: &["applied"],
        order_by: &["id"],
    },
    Shape {
        tool: HistoryTool::Sqlx,
        table: "_sqlx_migrations",
        needs: &["version", "success"],
        lacks: &[],
        reads: &["description", "installed_on"],
        order_by: &["version"],
    },
    Shape {
        tool: HistoryTool::Diesel,
        table: "__diesel_schema_migrations",
        needs: &["version"],
        lacks: &[],
        reads: &["run_on"],
        order_by: &["version"],
    },
    Shape {
        tool: HistoryTool::Flyway,
        table: "flyway_schema_history",
        needs: FLYWAY,
        lacks: &[],
        reads: FLYWAY_READS,
        order_by: &["installed_rank"],
    },
    // Flyway up to version 4.
    Shape {
        tool: HistoryTool::Flyway,
        table: "schema_version",
        needs: FLYWAY,
        lacks: &[],
        reads: FLYWAY_READS,
        order_by: &["installed_rank"],
    },
    Shape {
        tool: HistoryTool::GolangMigrate,
        table: "schema_migrations",
        needs: &["version", "dirty"],
        lacks: &[],
        reads: &[],
        order_by: &["version"],
    },
    Shape {
        tool: HistoryTool::Goose,
        table: "goose_db_version",
        needs: &["id", "version_id", "is_applied"],
        lacks: &[],
        reads: &["tstamp"],
        order_by: &["id"],
    },
    Shape {
        tool: HistoryTool::Dbmate,
        table: "schema_migrations",
        needs: &["version"],
        lacks: &["dirty", "inserted_at"],
        reads: &[],
        order_by: &["version"],
    },
    Shape {
        tool: HistoryTool::Refinery,
        table: "refinery_schema_history",
        needs: &["version", "name"],
        lacks: &[],
        reads: &["applied_on"],
        order_by: &["version"],
    },
    Shape {
        tool: HistoryTool::Tern,
        table: "schema_version",
        needs: &["version"],
        lacks: &["installed_rank"],
        reads: &[],
        order_by: &["version"],
    },
    Shape {
        tool: HistoryTool::NodePgMigrate,
        table: "pgmigrations",
        needs: &["id", "name", "run_on"],
        lacks: &[],
        reads: &[],
        order_by: &["id"],
    },
    Shape {
        tool: HistoryTool::SeaOrm,
        table: "seaql_migrations",
        needs: &["version"],
        lacks: &[],
        reads: &["applied_at"],
        order_by: &["version"],
    },
    Shape {
        tool: HistoryTool::Alembic,
        table: "alembic_version",
        needs: &["version_num"],
        lacks: &[],
        reads: &[],
        order_by: &["version_num"],
    },
    Shape {
        tool: HistoryTool::Atlas,
        table: "atlas_schema_revisions",
        needs: &["version", "type", "applied", "total"],
        lacks: &[],
        reads: &["description", "executed_at", "error"],
        order_by: &["version"],
    },
    Shape {
        tool: HistoryTool::Prisma,
        table: "_prisma_migrations",
        needs: &["migration_name", "finished_at", "rolled_back_at", "started_at"],
        lacks: &[],
        reads: &[],
        order_by: &["started_at"],
    },
];

/// The table that a tool keeps.
pub(super) fn table_name(tool: HistoryTool) -> &'static str {
    SHAPES.iter().find(|shape| shape.tool == tool).map_or("", |shape| shape.table)
}

/// The columns that tell a tool's table.
pub(super) fn needed_columns(tool: HistoryTool) -> &'static [&'static str] {
    SHAPES.iter().find(|shape| shape.tool == tool).map_or(&[], |shape| shape.needs)
}

/// The query for one tool's history, if its table is there. Rails' and dbmate's tables look alike:
/// whoever is asked for is believed.
pub(super) fn find(tables: &[TableShape], tool: HistoryTool) -> Option<TableQuery> {
    SHAPES
        .iter()
        .filter(|shape| shape.tool == tool)
        .find_map(|shape| tables.iter().find_map(|table| shape.query(table)))
}

/// Every history that there is, each once.
pub(super) fn recognised(tables: &[TableShape]) -> Vec<(HistoryTool, TableQuery)> {
    let is_rails = tables.iter().any(|table| table.name.eq_ignore_ascii_case(RAILS_METADATA));
    HistoryTool::ALL
        .into_iter()
        .filter(|tool| match tool {
            HistoryTool::Rails => is_rails,
            HistoryTool::Dbmate => !is_rails,
            _ => true,
        })
        .filter_map(|tool| find(tables, tool).map(|query| (tool, query)))
        .collect()
}

impl Shape {
    fn query(&self, table: &TableShape) -> Option<TableQuery> {
        let actual = |wanted: &str| {
            let mut names = table.columns.iter().map(|(name, _)| name);
            names.find(|name| name.eq_ignore_ascii_case(wanted)).cloned()
        };
        if !table.name.eq_ignore_ascii_case(self.table)
            || self.lacks.iter().any(|column| actual(column).is_some())
        {
            return None;
        }
        let mut columns = Vec::new();
        for needed in self.needs {
            columns.push(actual(needed)?);
        }
        columns.extend(self.reads.iter().filter_map(|column| actual(column)));
        let order_by = self.order_by.iter().filter_map(|column| actual(column)).collect();
        Some(TableQuery { table: table.table.clone(), columns, order_by })
    }
}
