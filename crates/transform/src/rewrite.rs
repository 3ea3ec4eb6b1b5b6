//! From what DataFusion understood to what we mean: casts, arithmetic and patterns that tell of
//! each failure.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Operator, ScalarUDF};

use crate::cast::{can_cast, cast};
use crate::coerce::Coercing;
use crate::functions::{CastTo, Finite, Groups, MapValue, Matches};
use crate::plan::Columns;
use crate::reason::carry;
use crate::words::type_name;
use crate::zone::Zone;

/// Checks and rewrites one planned expression.
pub(crate) fn rewrite(
    expr: Expr,
    schema: &DFSchema,
    columns: &Columns,
    zone: &Zone,
) -> Result<Expr> {
    check(&expr)?;
    let expr = expr.transform_up(narrow_times)?.data;
    let expr = expr.rewrite(&mut Coercing::new(schema, zone))?.data;
    let expr = expr.transform_up(|expr| Ok(Transformed::yes(ours(expr, schema, zone)?)))?.data;
    let expr = unaliased(expr);
    let expr = match narrow(&expr.get_type(schema)?) {
        Some(to) => cast_to(expr, &to, false, schema, zone)?,
        None => expr,
    };
    if columns.other_form(&expr).is_some() {
        return Ok(expr);
    }
    Ok(expr.transform_down(|expr| Ok(as_stored(expr, columns, zone)))?.data)
}

/// Columns that come in another form than they are taken for are cast where they are used; their
/// text is what came.
fn as_stored(expr: Expr, columns: &Columns, zone: &Zone) -> Transformed<Expr> {
    let done = |expr| Transformed::new(expr, true, TreeNodeRecursion::Jump);
    match expr {
        Expr::IsNull(inner) if columns.other_form(&inner).is_some() => done(Expr::IsNull(inner)),
        Expr::IsNotNull(inner) if columns.other_form(&inner).is_some() => {
            done(Expr::IsNotNull(inner))
        }
        Expr::ScalarFunction(function) => {
            let cast = function.func.inner().downcast_ref::<CastTo>();
            match (cast, function.args.as_slice()) {
                (None, [column]) if function.func.inner().is::<Finite>() => {
                    match columns.other_form(column).cloned() {
                        Some(to) => {
                            let digits = call(Finite::of_digits(), function.args);
                            done(call(CastTo::new(to, false, zone.clone()), vec![digits]))
                        }
                        None => Transformed::no(Expr::ScalarFunction(function)),
                    }
                }
                (Some(cast), [column]) if columns.other_form(column).is_some() => match &cast.to {
                    DataType::Utf8 => done(column.clone()),
                    to if to.is_integer() => Transformed::no(Expr::ScalarFunction(function)),
                    _ => done(Expr::ScalarFunction(function)),
                },
                _ => Transformed::no(Expr::ScalarFunction(function)),
            }
        }
        expr => match columns.other_form(&expr) {
            Some(to) => done(call(CastTo::new(to.clone(), false, zone.clone()), vec![expr])),
            None => Transformed::no(expr),
        },
    }
}

fn unaliased(expr: Expr) -> Expr {
    match expr {
        Expr::Alias(alias) => unaliased(*alias.expr),
        other => other,
    }
}

/// What is said of an expression that names a table.
pub(crate) const NO_OTHER_TABLE: &str = "an expression sees one row and no other table: what is \
     wanted of another gets a name by `look_up` under [from.NAME]";

/// Only what sees one row.
fn check(expr: &Expr) -> Result<()> {
    let mut wrong = None;
    expr.apply(|expr| {
        let why = match expr {
            Expr::ScalarSubquery(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::OuterReferenceColumn(..) => NO_OTHER_TABLE,
            Expr::SimilarTo(_) => {
                "SIMILAR TO isn't offered: write LIKE, or ~ and a regular expression"
            }
            Expr::Placeholder(_) => "there is nothing that $1 could stand for",
            Expr::ScalarVariable(..) => "there are no variables",
            Expr::AggregateFunction(_) | Expr::WindowFunction(_) | Expr::GroupingSet(_) => {
                "an expression sees one row"
            }
            Expr::Unnest(_) => "one value each row; use `each` for several rows of one",
            Expr::HigherOrderFunction(_) | Expr::Lambda(_) | Expr::LambdaVariable(_) => {
                "functions that take functions aren't offered"
            }
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        wrong = Some(why);
        Ok(TreeNodeRecursion::Stop)
    })?;
    wrong.map_or(Ok(()), |why| Err(carry(why)))
}

/// DataFusion's nanoseconds reach from 1677 to 2262 only.
fn narrow(of: &DataType) -> Option<DataType> {
    match of {
        DataType::Timestamp(unit, zone) if *unit != TimeUnit::Microsecond => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
        }
        DataType::Time64(TimeUnit::Nanosecond) => Some(DataType::Time64(TimeUnit::Microsecond)),
        _ => normal(of),
    }
}

/// The one form of texts and bytes.
fn normal(of: &DataType) -> Option<DataType> {
    match of {
        DataType::Utf8View | DataType::LargeUtf8 => Some(DataType::Utf8),
        DataType::BinaryView | DataType::LargeBinary => Some(DataType::Binary),
        _ => None,
    }
}

fn narrow_times(expr: Expr) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::Cast(mut cast) => match narrow(cast.field.data_type()) {
            Some(to) => {
                cast.field = Arc::new(cast.field.as_ref().clone().with_data_type(to));
                Transformed::yes(Expr::Cast(cast))
            }
            None => Transformed::no(Expr::Cast(cast)),
        },
        Expr::TryCast(mut cast) => match narrow(cast.field.data_type()) {
            Some(to) => {
                cast.field = Arc::new(cast.field.as_ref().clone().with_data_type(to));
                Transformed::yes(Expr::TryCast(cast))
            }
            None => Transformed::no(Expr::TryCast(cast)),
        },
        other => Transformed::no(other),
    })
}

pub(crate) fn call(function: impl Into<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function.into()), args))
}

fn ours(expr: Expr, schema: &DFSchema, zone: &Zone) -> Result<Expr> {
    match expr {
        Expr::Cast(cast) => {
            let to = narrow(cast.field.data_type()).unwrap_or(cast.field.data_type().clone());
            cast_to(*cast.expr, &to, false, schema, zone)
        }
        Expr::TryCast(cast) => {
            let to = narrow(cast.field.data_type()).unwrap_or(cast.field.data_type().clone());
            cast_to(*cast.expr, &to, true, schema, zone)
        }
        Expr::Negative(inner) => {
            let of = inner.get_type(schema)?;
            if !of.is_integer() {
                return Ok(Expr::Negative(inner));
            }
            // A subtraction is checked.
            let zero = Expr::Literal(ScalarValue::new_zero(&of)?, None);
            Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(zero), Operator::Minus, inner)))
        }
        Expr::BinaryExpr(binary) => matches(binary),
        Expr::Like(mut like) => {
            let (Some(escape), Some(pattern)) = (like.escape_char, constant(&like.pattern)) else {
                return Ok(Expr::Like(like));
            };
            like.pattern = Box::new(Expr::Literal(escaped(pattern, escape).into(), None));
            like.escape_char = None;
            Ok(Expr::Like(like))
        }
        Expr::ScalarFunction(function) => our_function(function, schema),
        other => Ok(other),
    }
}

/// A cast of ours. Constants are cast now, where they can be.
pub(crate) fn cast_to(
    expr: Expr,
    to: &DataType,
    or_null: bool,
    schema: &DFSchema,
    zone: &Zone,
) -> Result<Expr> {
    let from = expr.get_type(schema)?;
    if from == *to {
        return Ok(expr);
    }
    if !can_cast(&from, to) {
        let (from, to) = (type_name(&from), type_name(to));
        return Err(carry(format!("{from} can't become {to}")));
    }
    if let Expr::Literal(value, _) = &expr {
        let (array, failures) = cast(&value.to_array()?, to, zone)?;
        if failures.is_empty() || or_null {
            return Ok(Expr::Literal(ScalarValue::try_from_array(&array, 0)?, None));
        }
    }
    Ok(call(CastTo::new(to.clone(), or_null, zone.clone()), vec![expr]))
}

/// The text of a constant.
pub(crate) fn constant(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

fn matches(binary: BinaryExpr) -> Result<Expr> {
    let (negated, ignores_case) = match binary.op {
        Operator::RegexMatch => (false, false),
        Operator::RegexIMatch => (false, true),
        Operator::RegexNotMatch => (true, false),
        Operator::RegexNotIMatch => (true, true),
        _ => return Ok(Expr::BinaryExpr(binary)),
    };
    let Some(pattern) = constant(&binary.right) else { return Ok(Expr::BinaryExpr(binary)) };
    let function = Matches::of(pattern, negated, ignores_case).map_err(not_a_pattern)?;
    Ok(call(function, vec![*binary.left]))
}

/// A pattern of LIKE whose letters are taken as they are behind a backslash, and not behind another.
fn escaped(pattern: &str, escape: char) -> String {
    let mut with = String::with_capacity(pattern.len() + 4);
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if letter == escape {
            with.push('\\');
            with.extend(letters.next());
        } else if letter == '\\' {
            with.push_str("\\\\");
        } else {
            with.push(letter);
        }
    }
    with
}

fn not_a_pattern(why: &'static str) -> datafusion_common::DataFusionError {
    carry(format!("the pattern {why}"))
}

fn our_function(function: ScalarFunction, schema: &DFSchema) -> Result<Expr> {
    let args = &function.args;
    match (function.func.name(), args.as_slice()) {
        // These exist as CASE only, so that what isn't needed isn't evaluated.
        ("coalesce" | "nvl" | "nvl2", _) => {
            let simple = function.func.simplify(function.args, &SimplifyContext::default())?;
            match simple {
                ExprSimplifyResult::Simplified(expr) => Ok(expr),
                ExprSimplifyResult::Original(args) => {
                    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function.func, args)))
                }
            }
        }
        ("to_char" | "to_date" | "to_time", [_, formats @ ..]) => {
            let plain = |format: &Expr| constant(format).is_some_and(|text| !text.contains('%'));
            if formats.iter().any(plain) {
                return Err(carry("formats are as in strftime: '%Y-%m-%d %H:%M:%S'"));
            }
            Ok(Expr::ScalarFunction(function))
        }
        ("regexp_match", [text, pattern, flags @ ..]) => {
            let flags_known = flags.iter().all(|flags| constant(flags).is_some());
            match constant(pattern).filter(|_| flags_known) {
                Some(pattern) => {
                    let flags = flags.first().and_then(constant);
                    let groups = Groups::of(pattern, flags, None).map_err(not_a_pattern)?;
                    Ok(call(groups, vec![text.clone()]))
                }
                None => Ok(Expr::ScalarFunction(function)),
            }
        }
        ("array_element", [Expr::ScalarFunction(list), Expr::Literal(place, _)]) => {
            let groups = list.func.inner().downcast_ref::<Groups>();
            let place = place.cast_to(&DataType::Int64).ok();
            match (groups.filter(|groups| groups.is_constant_list()), place) {
                (Some(groups), Some(ScalarValue::Int64(Some(place)))) if place > 0 => {
                    let place = usize::try_from(place).unwrap_or_default();
                    Ok(call(groups.only(place), list.args.clone()))
                }
                _ => Ok(Expr::ScalarFunction(function)),
            }
        }
        ("get_field", [map, key]) => match (map.get_type(schema)?, constant(key)) {
            (DataType::Map(entries, _), Some(key)) if is_of_texts(entries.data_type()) => {
                Ok(call(MapValue::new(key.to_owned()), vec![map.clone()]))
            }
            _ => Ok(Expr::ScalarFunction(function)),
        },
        _ => Ok(Expr::ScalarFunction(function)),
    }
}

fn is_of_texts(entries: &DataType) -> bool {
    match entries {
        DataType::Struct(fields) => {
            fields.len() == 2 && fields.iter().all(|field| *field.data_type() == DataType::Utf8)
        }
        _ => false,
    }
}
