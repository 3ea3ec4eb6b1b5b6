//! Which texts in a value are JSON: an expression has the same type for both, and `to_json` must tell
//! them apart.

use datafusion_common::Result;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::Expr;
use datafusion_expr::expr::ScalarFunction;
use dunlin_model::moves::ValueType;

use crate::functions::ToJson;
use crate::plan::Columns;
use crate::reason::carry;
use crate::rewrite::call;

/// What the texts in a value are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) enum Holds {
    /// Whatever stands beside it: a constant, NULL.
    #[default]
    Any,
    /// Texts.
    Text,
    /// JSON.
    Json,
    /// JSON in one row, texts in another.
    Mixed,
    /// A list of those.
    List(Box<Self>),
    /// A record of those.
    Record(Vec<(String, Self)>),
}

impl Holds {
    /// What a column's values are.
    pub(crate) fn of_type(of: &ValueType) -> Self {
        match of {
            ValueType::Json { .. } => Self::Json,
            ValueType::List(item) => Self::List(Box::new(Self::of_type(item))),
            _ => Self::Text,
        }
    }

    /// What an expression gives.
    pub(crate) fn of(expr: &Expr, columns: &Columns) -> Result<Self> {
        match expr {
            Expr::Alias(alias) => Self::of(&alias.expr, columns),
            Expr::Column(column) => {
                let known = columns.place(&column.name).and_then(|place| columns.all.get(place));
                Ok(known.map_or(Self::Text, |known| known.holds.clone()))
            }
            Expr::Literal(..) => Ok(Self::Any),
            Expr::Case(case) => {
                let thens = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
                Self::common(thens.chain(case.else_expr.as_deref()), columns)
            }
            Expr::ScalarFunction(function) => Self::of_function(function, columns),
            // A cast says what it gives.
            _ => Ok(Self::Text),
        }
    }

    fn of_function(function: &ScalarFunction, columns: &Columns) -> Result<Self> {
        let args = function.args.as_slice();
        let of = |place: usize| match args.get(place) {
            Some(arg) => Self::of(arg, columns),
            None => Ok(Self::Text),
        };
        match function.name() {
            "json_get" | "to_json" => Ok(Self::Json),
            "coalesce" | "nvl" => Self::common(args, columns),
            "nvl2" => Self::common(args.get(1..).unwrap_or_default(), columns),
            "nullif" | "array_slice" | "array_distinct" | "array_reverse" | "array_sort"
            | "array_remove" | "array_resize" => of(0),
            "make_array" => Ok(Self::List(Box::new(Self::common(args, columns)?))),
            "array_repeat" => Ok(Self::List(Box::new(of(0)?))),
            "array_concat" => Self::common(args, columns),
            "array_append" => Ok(of(0)?.and(Self::List(Box::new(of(1)?)))),
            "array_prepend" => Ok(of(1)?.and(Self::List(Box::new(of(0)?)))),
            "array_element" => Ok(match of(0)? {
                Self::List(item) => *item,
                _ => Self::Text,
            }),
            "named_struct" => {
                let parts = args.chunks_exact(2).map(|pair| match pair {
                    [name, value] => Ok((constant(name), Self::of(value, columns)?)),
                    _ => Err(carry("a record has names and values")),
                });
                Ok(Self::Record(parts.collect::<Result<_>>()?))
            }
            "struct" => {
                let name = |(place, value)| Ok((format!("c{place}"), Self::of(value, columns)?));
                Ok(Self::Record(args.iter().enumerate().map(name).collect::<Result<_>>()?))
            }
            "get_field" => {
                let wanted = args.get(1).map(constant);
                Ok(match of(0)? {
                    Self::Record(parts) => parts
                        .into_iter()
                        .find(|(name, _)| Some(name) == wanted.as_ref())
                        .map_or(Self::Text, |(_, holds)| holds),
                    _ => Self::Text,
                })
            }
            _ => Ok(Self::Text),
        }
    }

    fn common<'a>(parts: impl IntoIterator<Item = &'a Expr>, columns: &Columns) -> Result<Self> {
        parts.into_iter().try_fold(Self::Any, |all, part| Ok(all.and(Self::of(part, columns)?)))
    }

    fn is_mixed(&self) -> bool {
        match self {
            Self::Mixed => true,
            Self::List(item) => item.is_mixed(),
            Self::Record(parts) => parts.iter().any(|(_, part)| part.is_mixed()),
            Self::Any | Self::Text | Self::Json => false,
        }
    }

    /// What values are that are the one or the other.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Any, other) | (other, Self::Any) => other,
            (Self::List(one), Self::List(other)) => Self::List(Box::new(one.and(*other))),
            (Self::Record(one), Self::Record(other)) if one.len() == other.len() => {
                let parts = one.into_iter().zip(other);
                let parts = parts.map(|((name, one), (_, other))| (name, one.and(other)));
                Self::Record(parts.collect())
            }
            (one, other) if one == other => one,
            (Self::Json | Self::Mixed, Self::Text) | (Self::Text, Self::Json | Self::Mixed) => {
                Self::Mixed
            }
            (Self::Json, Self::Mixed) | (Self::Mixed, Self::Json) => Self::Mixed,
            _ => Self::Text,
        }
    }
}

/// A record's part by its name.
fn constant(expr: &Expr) -> String {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten().unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

/// Every `to_json` told which texts are JSON already.
pub(crate) fn told(expr: Expr, columns: &Columns) -> Result<Expr> {
    let told = expr.transform_up(|expr| match expr {
        Expr::ScalarFunction(function) if function.name() == "to_json" => {
            let holds = match function.args.first() {
                Some(arg) => Holds::of(arg, columns)?,
                None => Holds::Text,
            };
            if holds.is_mixed() {
                return Err(carry(
                    "to_json gets JSON in one row and text in another: write to_json(…) of the text",
                ));
            }
            Ok(Transformed::yes(call(ToJson::of(holds), function.args)))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(told?.data)
}
