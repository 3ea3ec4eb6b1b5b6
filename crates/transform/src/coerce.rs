//! Which types the parts of an expression have: DataFusion's rules, except for numbers. Its decimals
//! meet floating point as decimals of 30 digits, and divide by cutting off; ours don't.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRewriter};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Operator};
use datafusion_optimizer::analyzer::type_coercion::TypeCoercionRewriter;

use crate::decimal::{MOST, OPEN, of_scale, scale_of};
use crate::functions::{
    Arithmetic, CastTo, Digits, Finite, Floating, Kind, Operation, Times, called, constant_places,
    is_floating, is_strict,
};
use crate::moments::{self, INTERVAL, is_interval};
use crate::rewrite::call;
use crate::zone::Zone;

/// Makes types meet, from the leaves on.
pub(crate) struct Coercing<'a> {
    schema: &'a DFSchema,
    zone: &'a Zone,
    theirs: TypeCoercionRewriter<'a>,
}

impl<'a> Coercing<'a> {
    /// Over these columns.
    pub(crate) fn new(schema: &'a DFSchema, zone: &'a Zone) -> Self {
        Self { schema, zone, theirs: TypeCoercionRewriter::new(schema) }
    }
}

impl TreeNodeRewriter for Coercing<'_> {
    type Node = Expr;

    fn f_up(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        let expr = self.numbers(expr)?;
        match self.theirs.f_up(expr.clone()) {
            Ok(coerced) => Ok(coerced.update_data(|expr| self.nanoseconds(expr))),
            // Functions of texts take a decimal's digits.
            Err(error) => {
                let texts = expr.map_children(|part| self.as_text(part))?;
                if !texts.transformed {
                    return Err(error);
                }
                self.theirs.f_up(texts.data).map_err(|_| error)
            }
        }
    }
}

fn cast(expr: Expr, to: &DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), to.clone()))
}

/// How numbers meet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meeting {
    /// Texts stay texts.
    Values,
    /// Texts are numbers, where others are.
    Comparison,
}

impl Coercing<'_> {
    fn of(&self, expr: &Expr) -> Result<DataType> {
        expr.get_type(self.schema)
    }

    /// Where a function takes nothing but nanoseconds, it gets them, as far as they reach.
    fn nanoseconds(&self, expr: Expr) -> Expr {
        let function = match expr {
            Expr::ScalarFunction(function) if function.func.name() == "date_bin" => function,
            other => return other,
        };
        let ScalarFunction { func, args } = function;
        let exact = |arg: Expr| match arg {
            Expr::Cast(cast) => {
                let to = cast.field.data_type().clone();
                call(CastTo::new(to, false, self.zone.clone()), vec![*cast.expr])
            }
            other => other,
        };
        let args = args.into_iter().map(exact).collect();
        Expr::ScalarFunction(ScalarFunction { func, args })
    }

    fn as_text(&self, part: Expr) -> Result<Transformed<Expr>> {
        Ok(if self.of(&part)?.is_decimal() {
            Transformed::yes(cast(part, &DataType::Utf8))
        } else {
            Transformed::no(part)
        })
    }

    fn numbers(&self, expr: Expr) -> Result<Expr> {
        match expr {
            Expr::Literal(value, metadata) => {
                let scale = scale_of(&value.data_type());
                match scale {
                    Some(scale) if scale <= MOST => {
                        let value = value.cast_to(&of_scale(scale.max(0)))?;
                        Ok(Expr::Literal(value, metadata))
                    }
                    // Beyond all decimals: 1e-100.
                    Some(_) => Ok(Expr::Literal(value.cast_to(&DataType::Float64)?, metadata)),
                    None => Ok(Expr::Literal(value, metadata)),
                }
            }
            Expr::BinaryExpr(binary) => self.binary(binary),
            Expr::Between(mut between) => {
                let parts = vec![*between.expr, *between.low, *between.high];
                let mut parts = self.met(parts, Meeting::Comparison)?.into_iter();
                if let (Some(expr), Some(low), Some(high)) =
                    (parts.next(), parts.next(), parts.next())
                {
                    between.expr = Box::new(expr);
                    between.low = Box::new(low);
                    between.high = Box::new(high);
                    return Ok(Expr::Between(between));
                }
                Err(crate::reason::carry("BETWEEN needs two ends"))
            }
            Expr::InList(mut list) => {
                let mut parts = vec![*list.expr];
                parts.append(&mut list.list);
                let mut parts = self.met(parts, Meeting::Comparison)?;
                list.expr = Box::new(parts.remove(0));
                list.list = parts;
                Ok(Expr::InList(list))
            }
            Expr::Case(case) => self.case(case),
            Expr::ScalarFunction(function) => self.function(function),
            other => Ok(other),
        }
    }

    fn case(&self, mut case: datafusion_expr::Case) -> Result<Expr> {
        let (whens, thens): (Vec<_>, Vec<_>) =
            case.when_then_expr.into_iter().map(|(when, then)| (*when, *then)).unzip();
        let count = thens.len();
        let mut values = thens;
        values.extend(case.else_expr.take().map(|value| *value));
        let mut values = self.met(values, Meeting::Values)?;
        case.else_expr = (values.len() > count).then(|| values.pop()).flatten().map(Box::new);
        let whens = match case.expr.take() {
            Some(of) => {
                let mut all = vec![*of];
                all.extend(whens);
                let mut all = self.met(all, Meeting::Comparison)?;
                case.expr = Some(Box::new(all.remove(0)));
                all
            }
            None => whens,
        };
        let pairs = whens.into_iter().zip(values);
        case.when_then_expr = pairs.map(|(when, then)| (Box::new(when), Box::new(then))).collect();
        Ok(Expr::Case(case))
    }

    /// Values that shall have one type.
    fn met(&self, parts: Vec<Expr>, meeting: Meeting) -> Result<Vec<Expr>> {
        let types = parts.iter().map(|part| self.of(part)).collect::<Result<Vec<_>>>()?;
        let has = |wanted: fn(&DataType) -> bool| types.iter().any(wanted);
        let compares = meeting == Meeting::Comparison;
        if compares && has(is_interval) {
            let all = parts.into_iter().zip(&types);
            let meets = |of: &DataType| is_interval(of) || of.is_string();
            let length = |(part, of)| if meets(of) { moments::length(part, of) } else { part };
            return Ok(all.map(length).collect());
        }
        let texts = has(DataType::is_string);
        if texts && !compares || !has(DataType::is_numeric) {
            return Ok(parts);
        }
        let to = if has(DataType::is_floating) {
            if !has(DataType::is_decimal) {
                return Ok(parts);
            }
            DataType::Float64
        } else if texts {
            of_scale(OPEN)
        } else if has(DataType::is_decimal) {
            of_scale(types.iter().filter_map(scale_of).max().unwrap_or(0))
        } else {
            return Ok(parts);
        };
        let all = parts.into_iter().zip(types);
        Ok(all
            .map(|(part, of)| {
                let meets = of.is_numeric() || of.is_string();
                if meets && of != to { cast(part, &to) } else { part }
            })
            .collect())
    }

    fn binary(&self, binary: BinaryExpr) -> Result<Expr> {
        let BinaryExpr { left, op, right } = binary;
        let (of_left, of_right) = (self.of(&left)?, self.of(&right)?);
        let numbers = of_left.is_numeric() && of_right.is_numeric();
        let binary = |left, right| BinaryExpr::new(Box::new(left), op, Box::new(right));
        if op.is_numerical_operators() && numbers {
            let floats = of_left.is_floating() || of_right.is_floating();
            let decimals = of_left.is_decimal() || of_right.is_decimal();
            let signs = (of_left == DataType::UInt64) != (of_right == DataType::UInt64);
            return Ok(match (floats, decimals) {
                (true, _) => {
                    let single = of_left == DataType::Float32 && of_right == DataType::Float32;
                    let to = if single { DataType::Float32 } else { DataType::Float64 };
                    call(Floating::new(op), vec![cast(*left, &to), cast(*right, &to)])
                }
                (false, true) => decimal((*left, &of_left), op, (*right, &of_right)),
                // Those without a sign meet the others as decimals; a quotient is whole here too.
                (false, false) if signs => {
                    let result = decimal((*left, &of_left), op, (*right, &of_right));
                    match op {
                        Operator::Divide => call(Digits::new(Kind::Trunc, Some(0)), vec![result]),
                        _ => result,
                    }
                }
                _ => Expr::BinaryExpr(BinaryExpr { left, op, right }),
            });
        }
        if op == Operator::Multiply {
            let is = |of: &DataType| matches!(of, DataType::Interval(_));
            let (left_is, right_is) = (is(&of_left), is(&of_right));
            if left_is && of_right.is_integer() {
                let args = vec![cast(*left, &INTERVAL), cast(*right, &DataType::Int64)];
                return Ok(call(Times::new(), args));
            }
            if right_is && of_left.is_integer() {
                let args = vec![cast(*right, &INTERVAL), cast(*left, &DataType::Int64)];
                return Ok(call(Times::new(), args));
            }
        }
        if matches!(op, Operator::Plus | Operator::Minus)
            && let Some((left, right)) =
                moments::beside_interval((&left, &of_left), (&right, &of_right))
        {
            return Ok(Expr::BinaryExpr(binary(left, right)));
        }
        if op == Operator::Minus && is_moment(&of_left) && is_moment(&of_right) {
            let mut instants = [&of_left, &of_right].into_iter();
            let instant = instants.find(|of| matches!(of, DataType::Timestamp(_, Some(_))));
            // How far it is from an infinite day, nobody knows.
            let finite = |part: Expr, of: &DataType| {
                let part = match instant {
                    Some(to) if to != of => cast(part, to),
                    _ => part,
                };
                call(Finite::or_fail(), vec![part])
            };
            let (left, right) = (finite(*left, &of_left), finite(*right, &of_right));
            return Ok(Expr::BinaryExpr(binary(left, right)));
        }
        let apart = |of: &DataType| of.is_numeric() || is_interval(of);
        if compares(op) && (apart(&of_left) || apart(&of_right)) {
            let mut parts = self.met(vec![*left, *right], Meeting::Comparison)?.into_iter();
            if let (Some(left), Some(right)) = (parts.next(), parts.next()) {
                return Ok(Expr::BinaryExpr(binary(left, right)));
            }
            return Err(crate::reason::carry("a comparison needs two sides"));
        }
        Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }))
    }

    fn function(&self, function: ScalarFunction) -> Result<Expr> {
        let ScalarFunction { func, args } = function;
        let types = args.iter().map(|arg| self.of(arg)).collect::<Result<Vec<_>>>()?;
        let name = func.name();
        let args = match moments::ours(name, args, &types)? {
            Ok(expr) => return Ok(expr),
            Err(args) => args,
        };
        let exact = types.first().is_some_and(|of| of.is_decimal() || of.is_integer());
        if let (Some(kind), true) = (Kind::of(name), exact) {
            return Ok(digits(kind, args, &types));
        }
        if let ("power", [base, to]) = (name, types.as_slice())
            && exact
            && to.is_integer()
        {
            let base = wide(base);
            let mut args = args.into_iter();
            if let (Some(of), Some(to)) = (args.next(), args.next()) {
                let args = vec![cast(of, &base), cast(to, &DataType::Int64)];
                return Ok(call(Arithmetic::new(Operation::Power), args));
            }
            return Err(crate::reason::carry("power takes two numbers"));
        }
        let args = if is_floating(name) {
            let float = |(arg, of): (Expr, &DataType)| {
                if of.is_decimal() { cast(arg, &DataType::Float64) } else { arg }
            };
            args.into_iter().zip(&types).map(float).collect()
        } else if is_strict(name) {
            let known = |(arg, of): (Expr, &DataType)| {
                if is_moment(of) { call(Finite::or_fail(), vec![arg]) } else { arg }
            };
            args.into_iter().zip(&types).map(known).collect()
        } else {
            self.met(args, Meeting::Values)?
        };
        Ok(Expr::ScalarFunction(ScalarFunction { func: called(func), args }))
    }
}

fn is_moment(of: &DataType) -> bool {
    matches!(of, DataType::Date32 | DataType::Timestamp(TimeUnit::Microsecond, _))
}

fn compares(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

/// A number as a decimal of 76 digits, with the digits after the point that it has.
fn wide(of: &DataType) -> DataType {
    of_scale(scale_of(of).unwrap_or(0))
}

fn decimal(left: (Expr, &DataType), op: Operator, right: (Expr, &DataType)) -> Expr {
    let (of_left, of_right) = (wide(left.1), wide(right.1));
    let operation = match op {
        Operator::Multiply => Operation::Multiply,
        Operator::Divide => Operation::Divide,
        _ => {
            let to = of_scale(scale_of(&of_left).max(scale_of(&of_right)).unwrap_or(0));
            let (left, right) = (cast(left.0, &to), cast(right.0, &to));
            return Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)));
        }
    };
    let args = vec![cast(left.0, &of_left), cast(right.0, &of_right)];
    call(Arithmetic::new(operation), args)
}

fn digits(kind: Kind, args: Vec<Expr>, types: &[DataType]) -> Expr {
    let Some(of) = types.first() else { return Expr::Literal(ScalarValue::Null, None) };
    let places = args.get(1).and_then(|places| match places {
        Expr::Literal(value, _) => constant_places(value),
        Expr::Negative(inner) => match inner.as_ref() {
            Expr::Literal(value, _) => constant_places(value).map(|places| -places),
            _ => None,
        },
        _ => None,
    });
    let places = if args.len() > 1 { places } else { Some(0) };
    let mut parts = Vec::with_capacity(args.len());
    for (place, arg) in args.into_iter().enumerate() {
        let to = if place == 0 { wide(of) } else { DataType::Int64 };
        parts.push(cast(arg, &to));
    }
    let result = call(Digits::new(kind, places), parts);
    if of.is_integer() { cast(result, of) } else { result }
}
