//! Other spellings of the same, which the planner knows or which say what is meant.

use datafusion_sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, DataType, ExactNumberInfo, Expr as Ast, FunctionArg,
    FunctionArgExpr, FunctionArguments, Ident, Value,
};
use datafusion_sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion_sql::sqlparser::parser::Parser;

use crate::decimal;

/// Spells one part anew.
pub(crate) fn respell(part: &mut Ast) {
    match part {
        Ast::CompoundIdentifier(parts) => {
            if let [first, second] = parts.as_slice()
                && first.value == "new"
            {
                let name = format!("new.{}", second.value);
                *part = Ast::Identifier(Ident::with_quote('"', name));
            }
        }
        // The planner takes it for a cast, whose result is an instant whatever it is of.
        Ast::AtTimeZone { timestamp, time_zone } => {
            let args = vec![time_zone.as_ref().clone(), timestamp.as_ref().clone()];
            if let Some(call) = call("timezone", args) {
                *part = call;
            }
        }
        Ast::Function(function) if is(&function.name.to_string(), "mod") => {
            if let Some([left, right]) = arguments(&function.args) {
                let nested = |part: Ast| Box::new(Ast::Nested(Box::new(part)));
                let (left, right) = (nested(left), nested(right));
                *part = Ast::BinaryOp { left, op: BinaryOperator::Modulo, right };
            }
        }
        Ast::Function(function) if is(&function.name.to_string(), "if") => {
            if let Some([condition, then, otherwise]) = arguments(&function.args)
                && let Some(case) = case(condition, then, otherwise)
            {
                *part = case;
            }
        }
        Ast::BinaryOp { left, op, right } => {
            let function = match op {
                BinaryOperator::Arrow | BinaryOperator::HashArrow => "json_get",
                BinaryOperator::LongArrow | BinaryOperator::HashLongArrow => "json_text",
                _ => return,
            };
            let whole = matches!(op, BinaryOperator::HashArrow | BinaryOperator::HashLongArrow);
            let steps = if whole { path(right) } else { Some(vec![right.as_ref().clone()]) };
            let Some(steps) = steps else { return };
            let mut args = vec![left.as_ref().clone()];
            args.extend(steps);
            if let Some(call) = call(function, args) {
                *part = call;
            }
        }
        Ast::Cast { data_type, .. } => respell_type(data_type),
        Ast::TypedString(typed) => respell_type(&mut typed.data_type),
        Ast::Substring { expr, substring_from, substring_for, .. } => {
            let one = || Box::new(Ast::value(Value::Number("1".to_owned(), false)));
            let from = substring_from.take().unwrap_or_else(one);
            let args = [Some(expr.clone()), Some(from), substring_for.take()];
            let args = args.into_iter().flatten().map(|arg| *arg).collect::<Vec<_>>();
            if let Some(call) = call("substr", args) {
                *part = call;
            }
        }
        _ => {}
    }
}

/// Types as PostgreSQL means them.
fn respell_type(of: &mut DataType) {
    match of {
        // A numeric without digits said has as many as it needs.
        DataType::Numeric(ExactNumberInfo::None)
        | DataType::Decimal(ExactNumberInfo::None)
        | DataType::Dec(ExactNumberInfo::None) => {
            let (digits, after) = (decimal::DIGITS.into(), decimal::OPEN.into());
            *of = DataType::Numeric(ExactNumberInfo::PrecisionAndScale(digits, after));
        }
        // The planner's FLOAT is single.
        DataType::Float(ExactNumberInfo::Precision(1..=24)) => *of = DataType::Real,
        DataType::Float(ExactNumberInfo::None | ExactNumberInfo::Precision(25..=53)) => {
            *of = DataType::DoublePrecision;
        }
        DataType::Array(
            ArrayElemTypeDef::AngleBracket(of)
            | ArrayElemTypeDef::SquareBracket(of, _)
            | ArrayElemTypeDef::Parenthesis(of),
        ) => respell_type(of),
        _ => {}
    }
}

/// Why a part can't be what it says, which the planner wouldn't tell.
pub(crate) fn wrong(part: &Ast) -> Option<&'static str> {
    let of = match part {
        Ast::Cast { data_type, .. } => data_type,
        Ast::TypedString(typed) => &typed.data_type,
        _ => return None,
    };
    match of {
        DataType::Float(ExactNumberInfo::None | ExactNumberInfo::Precision(1..=53)) => None,
        DataType::Float(_) => Some("FLOAT(n) has 1 to 53 binary digits"),
        _ => None,
    }
}

fn is(name: &str, wanted: &str) -> bool {
    name.trim_matches('"').eq_ignore_ascii_case(wanted)
}

/// The steps of a path as PostgreSQL writes it: `'{a,0}'`.
fn path(of: &Ast) -> Option<Vec<Ast>> {
    let Ast::Value(value) = of else { return None };
    let Value::SingleQuotedString(text) = &value.value else { return None };
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let step = |step: &str| {
        let step = step.trim().trim_matches('"').to_owned();
        Ast::value(Value::SingleQuotedString(step))
    };
    Some(inner.split(',').map(step).collect())
}

/// The arguments of a function that has so many.
fn arguments<const COUNT: usize>(args: &FunctionArguments) -> Option<[Ast; COUNT]> {
    let FunctionArguments::List(list) = args else { return None };
    let args: Vec<Ast> = list
        .args
        .iter()
        .filter_map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => Some(arg.clone()),
            _ => None,
        })
        .collect();
    args.try_into().ok()
}

fn parsed(text: &str) -> Option<Ast> {
    Parser::new(&PostgreSqlDialect {}).try_with_sql(text).ok()?.parse_expr().ok()
}

fn call(name: &str, args: Vec<Ast>) -> Option<Ast> {
    let mut parsed = parsed(&format!("\"{name}\"()"))?;
    if let Ast::Function(function) = &mut parsed
        && let FunctionArguments::List(list) = &mut function.args
    {
        let unnamed = |arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg));
        list.args = args.into_iter().map(unnamed).collect();
        return Some(parsed);
    }
    None
}

fn case(when: Ast, then: Ast, otherwise: Ast) -> Option<Ast> {
    let mut parsed = parsed("CASE WHEN true THEN 1 ELSE 2 END")?;
    if let Ast::Case { conditions, else_result, .. } = &mut parsed {
        let only = conditions.first_mut()?;
        (only.condition, only.result) = (when, then);
        *else_result = Some(Box::new(otherwise));
        return Some(parsed);
    }
    None
}
