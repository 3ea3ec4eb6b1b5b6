//! From the text of an expression to a typed one.

use std::collections::HashMap;
use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Field};
use datafusion_common::{DFSchema, DataFusionError, SchemaError, TableReference};
use datafusion_expr::{Expr, ExprSchemable};
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::{
    Expr as Ast, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Value,
    visit_expressions_mut,
};
use datafusion_sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Token, Tokenizer};
use dunlin_engine::moves::ExpressionError;
use dunlin_model::moves::Expression;

use crate::functions::{Functions, Provider, refusal};
use crate::reason::reason_of;
use crate::rewrite::rewrite;
use crate::words::{nearest, plain};
use crate::zone::Zone;

/// An expression may be so long, in bytes: more is a table, and belongs into one.
const MAX_BYTES: usize = 100_000;

/// An expression may have so many operators: each may be one level of a tree that is walked by
/// recursion, and a thread's stack ends.
const MAX_OPERATORS: usize = 200;

/// The columns that expressions see, in order. `new.` columns have it in their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns {
    /// Names and types.
    pub(crate) all: Vec<(String, DataType)>,
}

impl Columns {
    /// A schema of all.
    pub(crate) fn schema(&self) -> datafusion_common::Result<DFSchema> {
        let fields = self.all.iter().map(|(name, data_type)| {
            (None::<TableReference>, Field::new(name, data_type.clone(), true).into())
        });
        DFSchema::new_with_metadata(fields.collect(), HashMap::new())
    }

    /// The place of a column.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|(other, _)| other == name)
    }
}

/// A typed expression.
#[derive(Debug, Clone)]
pub(crate) struct Typed {
    /// It.
    pub(crate) expr: Expr,
    /// Its type.
    pub(crate) data_type: DataType,
}

/// An error at an expression.
pub(crate) fn error(
    expression: &Expression,
    message: impl Into<String>,
    help: Option<String>,
) -> ExpressionError {
    ExpressionError { line: expression.line, message: message.into(), help }
}

/// Parses and types an expression over columns.
pub(crate) fn plan(
    functions: &Functions,
    zone: &Zone,
    columns: &Columns,
    expression: &Expression,
) -> Result<Typed, ExpressionError> {
    let ast = parse(expression)?;
    let provider = Provider::new(functions);
    let options = ParserOptions::new()
        .with_enable_ident_normalization(false)
        .with_map_string_types_to_utf8view(false);
    let planner = SqlToRel::new_with_options(&provider, options);
    let typed = columns.schema().and_then(|schema| {
        let expr = planner.sql_to_expr(ast, &schema, &mut PlannerContext::new())?;
        let expr = rewrite(expr, &schema, zone)?;
        let data_type = expr.get_type(&schema)?;
        Ok(Typed { expr, data_type })
    });
    typed.map_err(|failed| explain(&failed, expression, columns, functions, provider.unknown()))
}

fn parse(expression: &Expression) -> Result<Ast, ExpressionError> {
    let text = expression.text.as_str();
    if text.trim().is_empty() {
        return Err(error(expression, "the expression is empty", None));
    }
    if text.len() > MAX_BYTES {
        let help = "put the values into a table, and join it in a query of the source";
        return Err(error(expression, "the expression is too long", Some(help.to_owned())));
    }
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, text)
        .tokenize_with_location()
        .map_err(|failed| syntax(expression, &failed.to_string()))?;
    if tokens.iter().filter(|token| is_operator(&token.token)).count() > MAX_OPERATORS {
        let help = "name parts of it in `let`, or write IN (…) for many comparisons";
        let message = format!("the expression has more than {MAX_OPERATORS} operators");
        return Err(error(expression, message, Some(help.to_owned())));
    }
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let parsed = parser.parse_expr().and_then(|ast| match parser.peek_token().token {
        Token::EOF => Ok(ast),
        _ => parser.expected_ref("the end of the expression", parser.peek_token_ref()),
    });
    let mut ast = parsed.map_err(|failed| match failed {
        ParserError::RecursionLimitExceeded => error(
            expression,
            "the expression is nested too deeply",
            Some("name parts of it in `let`".to_owned()),
        ),
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => {
            syntax(expression, &text)
        }
    })?;
    let _ = visit_expressions_mut(&mut ast, |part| {
        respell(part);
        ControlFlow::<()>::Continue(())
    });
    Ok(ast)
}

/// Other spellings of the same, which the planner knows or which say what is meant.
fn respell(part: &mut Ast) {
    match part {
        Ast::CompoundIdentifier(parts) => {
            if let [first, second] = parts.as_slice()
                && first.value == "new"
            {
                let name = format!("new.{}", second.value);
                *part = Ast::Identifier(Ident::with_quote('"', name));
            }
        }
        Ast::AtTimeZone { time_zone, .. } => {
            // Told apart from the zone of all instants, which is called UTC.
            if let Ast::Value(zone) = time_zone.as_mut()
                && let Value::SingleQuotedString(name) = &mut zone.value
                && name == "UTC"
            {
                "Etc/UTC".clone_into(name);
            }
        }
        Ast::Substring { expr, substring_from, substring_for, .. } => {
            let one = || Box::new(Ast::value(Value::Number("1".to_owned(), false)));
            let from = substring_from.take().unwrap_or_else(one);
            let args = [Some(expr.clone()), Some(from), substring_for.take()];
            let args = args.into_iter().flatten().map(|arg| *arg).collect::<Vec<_>>();
            if let Some(call) = substr(args) {
                *part = call;
            }
        }
        _ => {}
    }
}

fn substr(args: Vec<Ast>) -> Option<Ast> {
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql("\"substr\"()").ok()?.parse_expr();
    let mut parsed = parsed.ok()?;
    if let Ast::Function(function) = &mut parsed
        && let FunctionArguments::List(list) = &mut function.args
    {
        let unnamed = |arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg));
        list.args = args.into_iter().map(unnamed).collect();
        return Some(parsed);
    }
    None
}

fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            word.quote_style.is_none()
                && ["and", "or", "not", "is", "between", "like", "ilike", "in", "similar"]
                    .iter()
                    .any(|name| word.value.eq_ignore_ascii_case(name))
        }
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Whitespace(_)
        | Token::Comma
        | Token::LParen
        | Token::RParen
        | Token::RBracket
        | Token::Period
        | Token::EOF => false,
        _ => true,
    }
}

/// What the parser says, at the line that it says it of.
fn syntax(expression: &Expression, text: &str) -> ExpressionError {
    let (message, line) = match text.rsplit_once(" at Line: ") {
        Some((message, place)) => {
            let line = place.split(',').next().and_then(|line| line.trim().parse::<usize>().ok());
            (message, line.unwrap_or(1))
        }
        None => (text, 1),
    };
    let help = "text stands in 'single quotes', columns in none or in \"double quotes\"";
    ExpressionError {
        line: expression.line + line.saturating_sub(1),
        message: format!("the expression can't be read: {message}"),
        help: Some(help.to_owned()),
    }
}

fn root(failed: &DataFusionError) -> &DataFusionError {
    match failed {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => root(inner),
        DataFusionError::Shared(inner) => root(inner),
        DataFusionError::Collection(all) => all.first().map_or(failed, root),
        other => other,
    }
}

fn explain(
    failed: &DataFusionError,
    expression: &Expression,
    columns: &Columns,
    functions: &Functions,
    unknown: Option<String>,
) -> ExpressionError {
    let failed = root(failed);
    if let DataFusionError::SchemaError(schema, _) = failed
        && let SchemaError::FieldNotFound { field, .. } = schema.as_ref()
    {
        return unknown_column(expression, &field.name, columns);
    }
    if let Some(name) = unknown {
        if let Some(why) = refusal(&name) {
            return error(expression, format!("`{name}` isn't offered"), Some(why.to_owned()));
        }
        let near = nearest(&name, functions.names()).map(|near| format!("did you mean `{near}`?"));
        return error(expression, format!("there is no function `{name}`"), near);
    }
    match failed {
        DataFusionError::External(_) => error(expression, reason_of(failed), None),
        DataFusionError::SchemaError(schema, _) => {
            error(expression, plain(&schema.to_string()), None)
        }
        other => {
            let text = other.strip_backtrace();
            let text = text.split_once(": ").map_or(text.as_str(), |(_, text)| text);
            let first = text.lines().next().unwrap_or_default();
            // Candidates and internals follow; the types are what a person can change.
            let first = first.split(" No function matches").next().unwrap_or(first);
            let help = "write CAST(x AS TYPE) where a value must be of another type";
            let message = format!("the expression can't be compiled: {}", plain(first).trim());
            error(expression, message, Some(help.to_owned()))
        }
    }
}

fn unknown_column(expression: &Expression, name: &str, columns: &Columns) -> ExpressionError {
    if let Some(why) = refusal(name) {
        return error(expression, format!("`{name}` isn't offered"), Some(why.to_owned()));
    }
    let message = format!("there is no column `{name}`");
    let help = if expression.text.contains(&format!("\"{name}\"")) {
        Some(format!("a text stands in single quotes: '{name}'"))
    } else if name.starts_with("new.")
        && !columns.all.iter().any(|(name, _)| name.starts_with("new."))
    {
        Some("a new row's columns are known to `set` alone".to_owned())
    } else {
        nearest(name, columns.all.iter().map(|(name, _)| name.as_str()))
            .map(|near| format!("did you mean `{near}`?"))
    };
    error(expression, message, help)
}
