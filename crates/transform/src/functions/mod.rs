//! The functions that expressions may call.

mod arithmetic;
mod bounded;
mod cast_to;
mod checked;
mod date_part;
mod date_trunc;
mod digits;
mod finite;
mod floating;
mod hash;
mod intervals;
mod json;
mod letters;
mod map_value;
mod octets;
mod regexp;
mod timezone;

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

pub(crate) use arithmetic::{Arithmetic, Operation};
use bounded::Bounded;
pub(crate) use cast_to::CastTo;
use checked::Checked;
pub(crate) use date_part::{DatePart, Part};
pub(crate) use date_trunc::DateTrunc;
pub(crate) use digits::{Digits, Kind, constant_places};
pub(crate) use finite::Finite;
pub(crate) use floating::Floating;
pub(crate) use intervals::Times;
pub(crate) use json::{ToJson, is_json};
pub(crate) use map_value::MapValue;
pub(crate) use octets::Octets;
pub(crate) use regexp::{Groups, Matches};
pub(crate) use timezone::AtTimeZone;

use crate::holds::Holds;

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
            "group_concat",
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
        "times are microseconds here; write CAST(x AS TIMESTAMP) or CAST(x AS TIMESTAMPTZ), of a text that begins with a date, or of seconds: ms / 1000.0",
    ),
    (&["isnull"], "write x IS NULL"),
    (&["unnest"], "use `each` for several rows of one: each = \"x IN list\""),
    (&["regexp_substr", "regexp_extract"], "write regexp_match(text, 'pattern')[1]"),
    (&["make_interval"], "write n * INTERVAL '1 second'"),
    (&["date_add", "date_sub", "adddate", "dateadd"], "write x + INTERVAL '1 day'"),
    (&["datediff", "age", "timestampdiff"], "write a - b"),
    (&["str_to_date"], "write to_date(x, '%d.%m.%Y')"),
    (&["strftime"], "write to_char(x, '%Y-%m-%d')"),
    (&["unix_timestamp"], "write to_unixtime(x)"),
    (&["to_number"], "write CAST(x AS DECIMAL(20, 4))"),
    (&["format", "printf"], "write concat(…), or … || …"),
    (
        &[
            "json_extract",
            "json_unquote",
            "json_value",
            "json_extract_path_text",
            "jsonb_extract_path_text",
            "json_extract_path",
            "jsonb_extract_path",
        ],
        "write json_text(j, 'key', 0), or json_get(j, 'key', 0) for JSON",
    ),
    (
        &[
            "json_array_elements",
            "jsonb_array_elements",
            "json_array_elements_text",
            "jsonb_array_elements_text",
            "json_each",
            "json_table",
        ],
        "use `each` for several rows of one: each = \"x IN json_list(j, 'key')\"",
    ),
    (
        &["json_array_length", "jsonb_array_length", "json_length"],
        "write array_length(json_list(j))",
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

/// Functions of floating point: numbers of other kinds become the nearest one.
const FLOATING: &[&str] = &[
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "cot",
    "degrees", "exp", "ln", "log", "log10", "log2", "power", "radians", "round", "sin", "sinh",
    "sqrt", "tan", "tanh", "trunc",
];

/// Functions of other values that fail a whole batch for one row, or give NULL where they can't.
const STRICT: &[&str] = &[
    "date_bin",
    "factorial",
    "gcd",
    "lcm",
    "make_date",
    "make_time",
    "to_char",
    "to_date",
    "to_time",
    "to_unixtime",
];

/// Other databases' names of them.
const ALSO: &[(&str, &str)] = &[
    ("ceiling", "ceil"),
    ("lcase", "lower"),
    ("sign", "signum"),
    ("truncate", "trunc"),
    ("ucase", "upper"),
];

/// Whether a function is one of floating point.
pub(crate) fn is_floating(name: &str) -> bool {
    FLOATING.contains(&name)
}

/// Whether a function of other values is checked.
pub(crate) fn is_strict(name: &str) -> bool {
    STRICT.contains(&name)
}

/// A function as it is called: checked where its results must be, and within bounds.
pub(crate) fn called(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    if let Some(bounded) = Bounded::of(&function) {
        return Arc::new(ScalarUDF::from(bounded));
    }
    let name = function.name();
    let known = is_floating(name) || is_strict(name);
    if !known || function.inner().downcast_ref::<Checked>().is_some() {
        return function;
    }
    Arc::new(ScalarUDF::from(Checked::new(function)))
}

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
            ScalarUDF::from(ToJson::of(Holds::Any)),
            ScalarUDF::from(json::JsonPath::new(json::Gives::Text)),
            ScalarUDF::from(json::JsonPath::new(json::Gives::Json)),
            ScalarUDF::from(json::JsonPath::new(json::Gives::List)),
            ScalarUDF::from(hash::Hashed::new(hash::Kind::Md5)),
            ScalarUDF::from(hash::Hashed::new(hash::Kind::Sha256)),
            ScalarUDF::from(Groups::any()),
            ScalarUDF::from(AtTimeZone::new()),
            ScalarUDF::from(letters::Letters::lower()),
            ScalarUDF::from(letters::Letters::upper()),
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
        for (name, known) in ALSO {
            if let Some(function) = scalar.get(*known).cloned() {
                scalar.insert((*name).to_owned(), function);
            }
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
        plan_err!("{}", crate::rewrite::NO_OTHER_TABLE)
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
