//! The functions that expressions may call.

mod cast_to;
mod finite;
mod json;
mod map_value;
mod regexp;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference, plan_err};
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::{
    AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, Volatility, WindowUDF,
};

pub(crate) use cast_to::CastTo;
pub(crate) use json::is_json;
pub(crate) use map_value::MapValue;
pub(crate) use regexp::{Groups, Matches};

/// Known functions that aren't offered, and why.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &["now", "current_timestamp", "current_date", "current_time", "today", "localtimestamp"],
        "it gives another result in another run, so every row would differ every night",
    ),
    (
        &["random", "rand", "uuid", "gen_random_uuid", "uuid_generate_v4"],
        "it gives another result in another run, so every row would differ every night",
    ),
    (
        &[
            "count",
            "sum",
            "min",
            "max",
            "avg",
            "array_agg",
            "string_agg",
            "row_number",
            "first_value",
            "last_value",
        ],
        "an expression sees one row; put the rows together in a query of the source: [from.NAME] query",
    ),
    (
        &[
            "to_timestamp",
            "to_timestamp_seconds",
            "to_timestamp_millis",
            "to_timestamp_micros",
            "to_timestamp_nanos",
            "from_unixtime",
            "to_local_time",
        ],
        "times are microseconds here; write CAST(x AS TIMESTAMP) or CAST(x AS TIMESTAMPTZ), of a text that begins with a date or of seconds",
    ),
    (&["arrow_cast", "arrow_try_cast", "cast_to_type", "try_cast_to_type"], "write CAST(x AS …)"),
    (
        &[
            "arrow_typeof",
            "arrow_field",
            "arrow_metadata",
            "with_metadata",
            "version",
            "input_file_name",
            "file_row_index",
            "union_extract",
            "union_tag",
        ],
        "it tells of the machinery and nothing of the row",
    ),
    (
        &["current_user", "session_user", "user", "current_catalog", "current_schema"],
        "a row has no user; a column of that name stands in \"double quotes\"",
    ),
];

/// Every function that we offer, by name in lower case.
#[derive(Debug)]
pub(crate) struct Functions {
    scalar: BTreeMap<String, Arc<ScalarUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: ConfigOptions,
}

impl Functions {
    /// DataFusion's families and ours.
    pub(crate) fn new() -> Self {
        let mut scalar = BTreeMap::new();
        let ours = [
            ScalarUDF::from(finite::Finite::new()),
            ScalarUDF::from(json::ToJson::new()),
            ScalarUDF::from(json::JsonText::new()),
            ScalarUDF::from(Groups::any()),
        ];
        let theirs = datafusion_functions::all_default_functions()
            .into_iter()
            .chain(datafusion_functions_nested::all_default_nested_functions())
            .filter(|function| function.signature().volatility == Volatility::Immutable);
        for function in theirs.chain(ours.into_iter().map(Arc::new)) {
            for alias in function.aliases() {
                scalar.insert(alias.to_lowercase(), Arc::clone(&function));
            }
            scalar.insert(function.name().to_lowercase(), function);
        }
        for name in REFUSED.iter().flat_map(|(names, _)| *names) {
            scalar.remove(*name);
        }
        let mut options = ConfigOptions::default();
        options.execution.time_zone = Some("UTC".to_owned());
        options.sql_parser.enable_ident_normalization = false;
        Self {
            scalar,
            planners: vec![
                Arc::new(datafusion_functions_nested::planner::NestedFunctionPlanner),
                Arc::new(datafusion_functions_nested::planner::FieldAccessPlanner),
                Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
                Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
                Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
            ],
            options,
        }
    }

    /// All names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.scalar.keys().map(String::as_str)
    }
}

/// Why a known function isn't offered.
pub(crate) fn refusal(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    REFUSED.iter().find(|(names, _)| names.contains(&name.as_str())).map(|(_, why)| *why)
}

/// What DataFusion asks while it plans one expression.
pub(crate) struct Provider<'a> {
    functions: &'a Functions,
    unknown: RefCell<Option<String>>,
}

impl<'a> Provider<'a> {
    /// For one expression.
    pub(crate) fn new(functions: &'a Functions) -> Self {
        Self { functions, unknown: RefCell::new(None) }
    }

    /// The function that was asked for last and isn't there.
    pub(crate) fn unknown(&self) -> Option<String> {
        self.unknown.borrow().clone()
    }
}

impl ContextProvider for Provider<'_> {
    fn get_table_source(&self, _name: TableReference) -> Result<Arc<dyn TableSource>> {
        plan_err!("an expression sees one row and no other table")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.functions.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let found = self.functions.scalar.get(&name.to_lowercase()).cloned();
        if found.is_none() {
            *self.unknown.borrow_mut() = Some(name.to_owned());
        }
        found
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _name: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _name: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.functions.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
