//! From the text of an expression to a typed one.

use std::collections::HashMap;
use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Field};
use datafusion_common::{DFSchema, DataFusionError, SchemaError, TableReference};
use datafusion_expr::{Expr, ExprSchemable};
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::{Expr as Ast, visit_expressions_mut};
use datafusion_sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Token, Tokenizer};
use dunlin_engine::moves::ExpressionError;
use dunlin_model::moves::Expression;

use crate::functions::{Functions, Provider, refusal};
use crate::holds::{Holds, told};
use crate::reason::reason_of;
use crate::rewrite::rewrite;
use crate::spelling::{respell, wrong};
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
    /// In order.
    pub(crate) all: Vec<Named>,
}

/// A column that expressions see.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// Its name.
    pub(crate) name: String,
    /// The form that its values come in.
    pub(crate) stored: DataType,
    /// What expressions take it for: decimals come as their digits, so that copies are unchanged.
    pub(crate) seen: DataType,
    /// Which texts in them are JSON.
    pub(crate) holds: Holds,
}

impl Columns {
    /// A schema of all, as they come.
    pub(crate) fn schema(&self) -> datafusion_common::Result<DFSchema> {
        self.schema_of(|column| &column.stored)
    }

    /// A schema of all, as expressions take them.
    pub(crate) fn seen(&self) -> datafusion_common::Result<DFSchema> {
        self.schema_of(|column| &column.seen)
    }

    fn schema_of(&self, of: impl Fn(&Named) -> &DataType) -> datafusion_common::Result<DFSchema> {
        let fields = self.all.iter().map(|column| {
            (None::<TableReference>, Field::new(&column.name, of(column).clone(), true).into())
        });
        DFSchema::new_with_metadata(fields.collect(), HashMap::new())
    }

    /// The place of a column.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|other| other.name == name)
    }

    /// One more, of nothing but NULL.
    pub(crate) fn push_null(&mut self, name: impl Into<String>) {
        self.push(name, DataType::Null, DataType::Null, Holds::Any);
    }

    /// One more.
    pub(crate) fn push(
        &mut self,
        name: impl Into<String>,
        stored: DataType,
        seen: DataType,
        holds: Holds,
    ) {
        self.all.push(Named { name: name.into(), stored, seen, holds });
    }

    /// What an expression takes a column for that comes in another form.
    pub(crate) fn other_form(&self, expr: &Expr) -> Option<&DataType> {
        let Expr::Column(column) = expr else { return None };
        let column = self.all.get(self.place(&column.name)?)?;
        (column.seen != column.stored).then_some(&column.seen)
    }
}

/// A typed expression.
#[derive(Debug, Clone)]
pub(crate) struct Typed {
    /// It.
    pub(crate) expr: Expr,
    /// The type of its values.
    pub(crate) data_type: DataType,
    /// What other expressions take them for.
    pub(crate) seen: DataType,
    /// Which texts in them are JSON.
    pub(crate) holds: Holds,
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
        .with_map_string_types_to_utf8view(false)
        .with_parse_float_as_decimal(true);
    let planner = SqlToRel::new_with_options(&provider, options);
    let typed = columns.seen().and_then(|schema| {
        let expr = planner.sql_to_expr(ast, &schema, &mut PlannerContext::new())?;
        let holds = Holds::of(&expr, columns)?;
        let expr = rewrite(told(expr, columns)?, &schema, columns, zone)?;
        let data_type = expr.get_type(&columns.schema()?)?;
        let seen = columns.other_form(&expr).unwrap_or(&data_type).clone();
        Ok(Typed { expr, data_type, seen, holds })
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
    let respelt = visit_expressions_mut(&mut ast, |part| match wrong(part) {
        Some(why) => ControlFlow::Break(why),
        None => {
            respell(part);
            ControlFlow::Continue(())
        }
    });
    match respelt {
        ControlFlow::Break(why) => {
            let help = "write REAL, DOUBLE PRECISION, or DECIMAL(10, 2) for exact digits";
            Err(error(expression, why, Some(help.to_owned())))
        }
        ControlFlow::Continue(()) => Ok(ast),
    }
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
        if let Some(table) = &field.relation
            && columns.all.iter().any(|column| column.name == field.name)
        {
            let message = format!("`{table}.{}` names a table", field.name);
            let help =
                format!("write {}: an expression sees the old row's columns alone", field.name);
            return error(expression, message, Some(help));
        }
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
            if first.starts_with("Unsupported ") && first.contains("ast node") {
                let message =
                    "the expression can't be compiled: a part of it is SQL that isn't offered";
                return error(expression, message, None);
            }
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
        && !columns.all.iter().any(|column| column.name.starts_with("new."))
    {
        Some("a new row's columns are known to `set` alone".to_owned())
    } else {
        nearest(name, columns.all.iter().map(|column| column.name.as_str()))
            .map(|near| format!("did you mean `{near}`?"))
    };
    error(expression, message, help)
}
