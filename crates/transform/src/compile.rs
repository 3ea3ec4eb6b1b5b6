//! Compiling everything that one rule says of a row.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_expr::Expr;
use datafusion_expr::type_coercion::binary::comparison_coercion;
use dunlin_engine::moves::{
    Compiled, Compiler, EachSpec, ExpressionError, Expressions, Output, arrow_type,
};
use dunlin_model::moves::{Expression, Field, OnRowError, ValueType};

use crate::decimal;
use crate::fit::{Fit, wrong_label};
use crate::frame::Lets;
use crate::functions::Functions;
use crate::holds::Holds;
use crate::plan::{Columns, Typed, error, plan};
use crate::program::Program;
use crate::rewrite::cast_to;
use crate::words::type_name;
use crate::zone::Zone;

/// A named expression written out may have so many parts; else rows where it failed fail wherever it
/// is used.
const MAX_INLINED: usize = 2_000;

/// A thread's stack while compiling: parsers and planners recurse.
const STACK: usize = 64 << 20;

/// Compiles expressions with DataFusion.
#[derive(Debug)]
pub struct DataFusion {
    functions: Functions,
}

impl Default for DataFusion {
    fn default() -> Self {
        Self::new()
    }
}

impl DataFusion {
    /// A compiler; one is enough for all rules.
    #[must_use]
    pub fn new() -> Self {
        Self { functions: Functions::new() }
    }
}

impl Compiler for DataFusion {
    fn compile(
        &self,
        expressions: &Expressions,
    ) -> Result<Box<dyn Compiled>, Vec<ExpressionError>> {
        let compiled = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK);
            let running = thread.spawn_scoped(scope, || compile(&self.functions, expressions));
            running.ok().and_then(|running| running.join().ok())
        });
        match compiled {
            Some(Ok(rule)) => Ok(Box::new(rule)),
            Some(Err(errors)) => Err(errors),
            None => Err(vec![ExpressionError {
                line: 1,
                message: "the expressions can't be compiled: the compiler failed on them"
                    .to_owned(),
                help: Some("leave expressions out until it works, and report the one".to_owned()),
            }]),
        }
    }
}

/// An output, compiled.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) program: Program,
    pub(crate) fit: Option<Fit>,
    pub(crate) condition: bool,
    pub(crate) on_error: OnRowError,
    pub(crate) data_type: DataType,
}

/// `each`, compiled.
#[derive(Debug)]
pub(crate) enum Each {
    Element(Program),
    /// By case, then by name.
    Case(Vec<Vec<Program>>),
}

/// Everything that one rule says of a row, compiled.
#[derive(Debug)]
pub(crate) struct Rule {
    /// What errors name.
    pub(crate) of: String,
    /// Columns in all: the old row's, named expressions, what `each` names, and `new.` ones.
    pub(crate) width: usize,
    pub(crate) used: Vec<usize>,
    pub(crate) lets: Lets,
    pub(crate) each: Option<Each>,
    /// Where the columns that `each` names begin.
    pub(crate) each_from: usize,
    pub(crate) filter: Option<Program>,
    pub(crate) outputs: Vec<Target>,
    pub(crate) late: Vec<Target>,
    /// Where the `new.` columns begin, and how many there are.
    pub(crate) new_from: usize,
    pub(crate) new: usize,
    /// Late outputs use what `each` names.
    pub(crate) late_uses_each: bool,
    pub(crate) zone: Zone,
}

struct Compiling<'a> {
    functions: &'a Functions,
    zone: Zone,
    asked: &'a Expressions,
    columns: Columns,
    /// Named expressions written out over the old row alone, by their places; `None`: too long.
    inlined: Vec<(usize, Option<Expr>)>,
    errors: Vec<ExpressionError>,
}

fn compile(functions: &Functions, asked: &Expressions) -> Result<Rule, Vec<ExpressionError>> {
    let first = asked.outputs.first().map_or(1, |output| output.expression.line);
    let Some(zone) = Zone::of(&asked.time_zone) else {
        return Err(vec![ExpressionError {
            line: first,
            message: format!("there is no time zone `{}`", asked.time_zone),
            help: Some("name one as the IANA database does: UTC, Europe/Berlin".to_owned()),
        }]);
    };
    let mut columns = Columns::default();
    for field in &asked.fields {
        let stored = arrow_type(&field.value_type, false);
        let seen = seen(&field.value_type, asked.scales_hold);
        let holds = Holds::of_type(&field.value_type);
        columns.push(&field.name, stored.clone(), seen.unwrap_or(stored), holds);
    }
    let mut compiling =
        Compiling { functions, zone, asked, columns, inlined: Vec::new(), errors: Vec::new() };
    let rule = compiling.rule();
    match (rule, compiling.errors.is_empty()) {
        (Some(rule), true) => Ok(rule),
        _ => Err(compiling.errors),
    }
}

impl Compiling<'_> {
    fn rule(&mut self) -> Option<Rule> {
        let lets_from = self.columns.all.len();
        let programs = self.lets();
        let id = self.lets_id();
        let lets = Lets { id, places: lets_from..self.columns.all.len(), programs };
        let each_from = self.columns.all.len();
        let each = self.asked.each.clone().and_then(|each| self.each(each));
        let new_from = self.columns.all.len();
        let filter = self.asked.filter.clone().and_then(|filter| self.condition(&filter));
        let outputs: Vec<_> =
            self.asked.outputs.iter().filter_map(|output| self.output(output)).collect();
        for field in &self.asked.new {
            // People see the text of a UUID.
            let of = arrow_type(&field.value_type, field.value_type != ValueType::Uuid);
            let seen = seen(&field.value_type, true).unwrap_or_else(|| of.clone());
            let holds = Holds::of_type(&field.value_type);
            self.columns.push(format!("new.{}", field.name), of, seen, holds);
        }
        let late: Vec<_> =
            self.asked.late.iter().filter_map(|output| self.output(output)).collect();
        if !self.errors.is_empty() {
            return None;
        }
        let uses = |targets: &[Target]| -> Vec<usize> {
            targets.iter().flat_map(|target| target.program.inputs.clone()).collect()
        };
        let late_uses = uses(&late);
        let mut rule = Rule {
            of: self.asked.of.clone(),
            width: self.columns.all.len(),
            used: Vec::new(),
            lets,
            late_uses_each: late_uses.iter().any(|place| (each_from..new_from).contains(place)),
            each,
            each_from,
            filter,
            outputs,
            late,
            new_from,
            new: self.asked.new.len(),
            zone: self.zone.clone(),
        };
        let mut wanted = uses(&rule.outputs);
        wanted.extend(late_uses);
        wanted.extend(rule.filter.iter().flat_map(|filter| &filter.inputs));
        match &rule.each {
            Some(Each::Element(list)) => wanted.extend(&list.inputs),
            Some(Each::Case(cases)) => {
                wanted.extend(cases.iter().flatten().flat_map(|program| &program.inputs));
            }
            None => {}
        }
        rule.used = used(wanted, &rule.lets);
        Some(rule)
    }

    /// The same for equal named expressions over equal columns.
    fn lets_id(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{:?} {:?}", self.asked.fields, self.asked.lets).hash(&mut hasher);
        (&self.asked.time_zone, self.asked.scales_hold).hash(&mut hasher);
        hasher.finish()
    }

    fn lets(&mut self) -> Vec<Program> {
        let mut programs = Vec::new();
        for (name, expression) in &self.asked.lets {
            let typed = self.typed(expression);
            if !self.is_free(name, expression) {
                continue;
            }
            let place = self.columns.all.len();
            let Some(typed) = typed else {
                // What uses it is checked with a type that goes with many others; it isn't compiled.
                self.columns.push_null(name);
                continue;
            };
            let Some(program) = self.program(&typed, expression) else {
                self.columns.push_null(name);
                continue;
            };
            let inlined = self.written_out(&typed.expr);
            self.columns.push(name, typed.data_type, typed.seen, typed.holds);
            self.inlined.push((place, inlined));
            programs.push(program);
        }
        programs
    }

    /// A name must not hide a column.
    fn is_free(&mut self, name: &str, expression: &Expression) -> bool {
        if self.columns.place(name).is_none() {
            return true;
        }
        let message = format!("`{name}` is there already: a column or another name");
        self.errors.push(error(expression, message, Some("choose another name".to_owned())));
        false
    }

    fn typed(&mut self, expression: &Expression) -> Option<Typed> {
        match plan(self.functions, &self.zone, &self.columns, expression) {
            Ok(typed) => Some(typed),
            Err(error) => {
                self.errors.push(error);
                None
            }
        }
    }

    fn program(&mut self, typed: &Typed, expression: &Expression) -> Option<Program> {
        let uses_lets = self.uses_lets(&typed.expr);
        let program = Program::of(typed, &self.columns).and_then(|mut program| {
            if uses_lets && let Some(expr) = self.written_out(&typed.expr) {
                let typed = Typed { expr, ..typed.clone() };
                program.inlined = Some(Box::new(Program::of(&typed, &self.columns)?));
            }
            Ok(program)
        });
        match program {
            Ok(program) => Some(program),
            Err(_) => {
                let help = "its functions don't take values of these types; write CAST(x AS TYPE)";
                let message = "the expression can't be compiled";
                self.errors.push(error(expression, message, Some(help.to_owned())));
                None
            }
        }
    }

    fn uses_lets(&self, expr: &Expr) -> bool {
        expr.column_refs().iter().any(|column| {
            let place = self.columns.place(&column.name);
            self.inlined.iter().any(|(other, _)| Some(*other) == place)
        })
    }

    /// The expression with every name written out.
    fn written_out(&self, expr: &Expr) -> Option<Expr> {
        let mut too_long = false;
        let written = expr.clone().transform_down(|part| {
            let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
            let place = self.columns.place(&column.name);
            match self.inlined.iter().find(|(other, _)| Some(*other) == place) {
                Some((_, Some(written))) => {
                    let written = written.clone();
                    Ok(Transformed::new(written, true, TreeNodeRecursion::Jump))
                }
                Some((_, None)) => {
                    too_long = true;
                    Ok(Transformed::no(part))
                }
                None => Ok(Transformed::no(part)),
            }
        });
        let written = written.ok().map(|written| written.data).filter(|_| !too_long)?;
        let mut parts = 0;
        let counted = written.apply(|_| {
            parts += 1;
            Ok(TreeNodeRecursion::Continue)
        });
        counted.ok().filter(|_| parts <= MAX_INLINED).map(|_| written)
    }

    fn condition(&mut self, expression: &Expression) -> Option<Program> {
        let typed = self.typed(expression)?;
        let typed = self.truth(typed, expression)?;
        self.program(&typed, expression)
    }

    /// It must be true or false.
    fn truth(&mut self, typed: Typed, expression: &Expression) -> Option<Typed> {
        match typed.data_type {
            DataType::Boolean => Some(typed),
            DataType::Null => self.as_type(typed, &DataType::Boolean, expression),
            of => {
                let message = format!("it gives {}, and must be true or false", type_name(&of));
                let help = "write a comparison: … <> 0, … IS NOT NULL";
                self.errors.push(error(expression, message, Some(help.to_owned())));
                None
            }
        }
    }

    fn as_type(&mut self, typed: Typed, to: &DataType, expression: &Expression) -> Option<Typed> {
        let holds = typed.holds.clone();
        let cast = self
            .columns
            .schema()
            .and_then(|schema| cast_to(typed.expr, to, false, &schema, &self.zone));
        match cast {
            Ok(expr) => Some(Typed { expr, data_type: to.clone(), seen: to.clone(), holds }),
            Err(_) => {
                let (from, to) = (type_name(&typed.data_type), type_name(to));
                let message = format!("it gives {from}, and the others give {to}");
                self.errors.push(error(expression, message, None));
                None
            }
        }
    }

    fn each(&mut self, each: EachSpec) -> Option<Each> {
        match each {
            EachSpec::Element(name, list) => {
                let typed = self.typed(&list);
                let free = self.is_free(&name, &list);
                let Some(typed) = typed.filter(|_| free) else {
                    self.columns.push_null(name);
                    return None;
                };
                let DataType::List(item) = &typed.data_type else {
                    let of = type_name(&typed.data_type);
                    let message = format!("`each` takes a list, and this is {of}");
                    self.errors.push(error(&list, message, None));
                    self.columns.push_null(name);
                    return None;
                };
                let program = self.program(&typed, &list);
                let stored = item.data_type().clone();
                let seen = self.copied(&typed).and_then(|field| match &field.value_type {
                    ValueType::List(item) => seen(item, self.asked.scales_hold),
                    _ => None,
                });
                let holds = match typed.holds {
                    Holds::List(item) => *item,
                    _ => Holds::Text,
                };
                self.columns.push(name, stored.clone(), seen.unwrap_or(stored), holds);
                Some(Each::Element(program?))
            }
            EachSpec::Case(cases) => self.cases(&cases),
        }
    }

    fn cases(&mut self, cases: &[Vec<(String, Expression)>]) -> Option<Each> {
        let first = cases.first()?;
        let mut columns = Vec::new();
        let mut compiled: Vec<Vec<Program>> = cases.iter().map(|_| Vec::new()).collect();
        for (name, expression) in first {
            let mut values = Vec::new();
            for case in cases {
                let Some((_, value)) = case.iter().find(|(other, _)| other == name) else {
                    let message = format!("one case of `each` has no `{name}`");
                    self.errors.push(error(expression, message, None));
                    continue;
                };
                values.extend(self.typed(value).map(|typed| (typed, value)));
            }
            self.is_free(name, expression);
            let one_form = values.split_first().is_some_and(|((first, _), rest)| {
                let same = |(other, _): &(Typed, _)| {
                    other.data_type == first.data_type && other.seen == first.seen
                };
                first.data_type != first.seen && rest.iter().all(same)
            });
            let common = values.iter().try_fold(DataType::Null, |common, (typed, _)| {
                // Text next to a number would be read as one.
                let of = if one_form { &typed.data_type } else { &typed.seen };
                let apart = common.is_string() != of.is_string();
                let apart = apart && !common.is_null() && !of.is_null();
                comparison_coercion(&common, of).filter(|_| !apart)
            });
            let holds =
                values.iter().fold(Holds::Any, |all, (typed, _)| all.and(typed.holds.clone()));
            let Some(common) = common else {
                let help = "write CAST(x AS TYPE), so that all cases give the same";
                let message = format!("the cases give `{name}` values of different types");
                self.errors.push(error(expression, message, Some(help.to_owned())));
                columns.push((name.clone(), DataType::Null, DataType::Null, holds));
                continue;
            };
            let seen = values.first().filter(|_| one_form).map(|(first, _)| first.seen.clone());
            for ((typed, value), programs) in values.into_iter().zip(&mut compiled) {
                let typed = self.as_type(typed, &common, value);
                programs.extend(typed.and_then(|typed| self.program(&typed, value)));
            }
            columns.push((name.clone(), common.clone(), seen.unwrap_or(common), holds));
        }
        for (name, stored, seen, holds) in columns {
            self.columns.push(name, stored, seen, holds);
        }
        Some(Each::Case(compiled))
    }

    /// The old row's column that an expression merely copies.
    fn copied(&self, typed: &Typed) -> Option<&Field> {
        let Expr::Column(from) = &typed.expr else { return None };
        self.asked.fields.iter().find(|field| field.name == from.name)
    }

    /// Decimals are their digits where they are copied, and where they are keys.
    fn in_form(&mut self, typed: Typed, output: &Output) -> Option<Typed> {
        let to = match output.column.as_ref().map(|column| &column.value_type) {
            None if typed.data_type.is_decimal() => DataType::Utf8,
            Some(
                ValueType::Int16
                | ValueType::Int32
                | ValueType::Int64
                | ValueType::UInt64
                | ValueType::Float32
                | ValueType::Float64,
            ) if typed.seen.is_decimal() => typed.seen.clone(),
            _ => return Some(typed),
        };
        self.as_type(typed, &to, &output.expression)
    }

    fn output(&mut self, output: &Output) -> Option<Target> {
        let mut typed = self.typed(&output.expression)?;
        if output.condition {
            typed = self.truth(typed, &output.expression)?;
        }
        let copied = self.copied(&typed).map(|field| field.value_type.clone());
        typed = self.in_form(typed, output)?;
        let mut data_type = typed.data_type.clone();
        let mut fit = None;
        if let Some(column) = &output.column {
            data_type = arrow_type(&column.value_type, true);
            if let Some((label, help)) = wrong_label(&typed.expr, &column.value_type) {
                let message = format!("'{label}' is no label of `{}`", column.name);
                self.errors.push(error(&output.expression, message, help));
                return None;
            }
            match Fit::of(&typed.data_type, column, copied.as_ref()) {
                Ok(found) if found.refuses_null() && output.on_error == OnRowError::Null => {
                    let message = format!("`{}` can't be NULL where this fails", column.name);
                    let help = "say on_error = \"leave out\", or give a value with coalesce(…, …)";
                    self.errors.push(error(&output.expression, message, Some(help.to_owned())));
                    return None;
                }
                Ok(found) => fit = Some(found),
                Err((message, help)) => {
                    self.errors.push(error(&output.expression, message, help));
                    return None;
                }
            }
        }
        Some(Target {
            name: output.name.clone(),
            program: self.program(&typed, &output.expression)?,
            fit,
            condition: output.condition,
            on_error: output.on_error,
            data_type,
        })
    }
}

/// What expressions take values for that come in another form.
fn seen(of: &ValueType, scales_hold: bool) -> Option<DataType> {
    let ValueType::Numeric { scale } = of else { return None };
    let scale = scale.filter(|_| scales_hold).map_or(decimal::OPEN, |scale| {
        i8::try_from(scale.clamp(0, decimal::MOST.into())).unwrap_or(decimal::MOST)
    });
    Some(decimal::of_scale(scale))
}

/// The old row's columns behind what is wanted.
fn used(wanted: Vec<usize>, lets: &Lets) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let mut open = wanted;
    while let Some(place) = open.pop() {
        if seen.insert(place) && lets.places.contains(&place) {
            let program = lets.programs.get(place - lets.places.start);
            open.extend(program.iter().flat_map(|program| &program.inputs));
        }
    }
    seen.into_iter().take_while(|place| *place < lets.places.start).collect()
}

/// Shared by threads.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Arc<Rule>>();
};
