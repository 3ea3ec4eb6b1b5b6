//! Rows and expressions for tests.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::Schema;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dunlin_engine::moves::{
    Applied, Compiled, Compiler, ExpressionError, Expressions, Output, arrow_field,
};
use dunlin_model::moves::{Expression, Field, Numbering, OnRowError, ValueType};
use dunlin_transform::DataFusion;

pub(crate) const TEXT: ValueType = ValueType::Text { padded: false };

pub(crate) fn expression(text: &str) -> Expression {
    Expression { text: text.to_owned(), line: 7 }
}

pub(crate) fn field(name: &str, value_type: ValueType) -> Field {
    Field {
        name: name.to_owned(),
        type_name: String::new(),
        value_type,
        nullable: true,
        has_default: false,
        numbering: Numbering::None,
        generated: false,
        max_chars: None,
        limit: None,
    }
}

pub(crate) fn output(name: &str, text: &str, column: Option<ValueType>) -> Output {
    Output {
        name: name.to_owned(),
        expression: expression(text),
        column: column.map(|of| field(name, of)),
        condition: false,
        on_error: OnRowError::Error,
    }
}

/// A source's rows with what is asked of them.
pub(crate) struct Stage {
    pub(crate) asked: Expressions,
    pub(crate) columns: Vec<ArrayRef>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let asked = Expressions {
            of: "[into.x]".to_owned(),
            time_zone: "UTC".to_owned(),
            scales_hold: true,
            ..Expressions::default()
        };
        Self { asked, columns: Vec::new() }
    }

    pub(crate) fn column(
        mut self,
        name: &str,
        of: ValueType,
        values: impl Array + 'static,
    ) -> Self {
        self.asked.fields.push(field(name, of));
        self.columns.push(Arc::new(values));
        self
    }

    pub(crate) fn texts(self, name: &str, values: &[Option<&str>]) -> Self {
        self.column(name, TEXT, StringArray::from(values.to_vec()))
    }

    pub(crate) fn given(mut self, name: &str, text: &str) -> Self {
        self.asked.lets.push((name.to_owned(), expression(text)));
        self
    }

    pub(crate) fn filter(mut self, text: &str) -> Self {
        self.asked.filter = Some(expression(text));
        self
    }

    pub(crate) fn set(mut self, name: &str, text: &str, column: ValueType) -> Self {
        self.asked.outputs.push(output(name, text, Some(column)));
        self
    }

    pub(crate) fn any(mut self, name: &str, text: &str) -> Self {
        self.asked.outputs.push(output(name, text, None));
        self
    }

    pub(crate) fn on_error(mut self, on_error: OnRowError) -> Self {
        self.asked.outputs.last_mut().unwrap().on_error = on_error;
        self
    }

    pub(crate) fn zone(mut self, name: &str) -> Self {
        self.asked.time_zone = name.to_owned();
        self
    }

    pub(crate) fn compiled(&self) -> Result<Box<dyn Compiled>, Vec<ExpressionError>> {
        DataFusion::new().compile(&self.asked)
    }

    /// What the compiler says, line by line.
    pub(crate) fn refused(&self) -> String {
        let errors = match self.compiled() {
            Ok(_) => panic!("it compiles"),
            Err(errors) => errors,
        };
        let lines = errors.into_iter().map(|error| {
            assert_eq!(error.line, 7);
            format!("{} | {}", error.message, error.help.unwrap_or_default())
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn batch(&self, compiled: &dyn Compiled) -> RecordBatch {
        let used = compiled.used();
        let fields: Vec<_> =
            used.iter().map(|place| arrow_field(&self.asked.fields[*place], false)).collect();
        let columns = used.iter().map(|place| Arc::clone(&self.columns[*place])).collect();
        let rows = self.columns.first().map_or(1, |column| column.len());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).unwrap()
    }

    pub(crate) fn apply(&self) -> Applied {
        let compiled = match self.compiled() {
            Ok(compiled) => compiled,
            Err(errors) => panic!("{errors:?}"),
        };
        let applied = compiled.apply(&self.batch(compiled.as_ref()).into()).unwrap();
        for (output, column) in self.asked.outputs.iter().zip(applied.rows.schema().fields()) {
            if let Some(wanted) = &output.column {
                assert_eq!(column.data_type(), arrow_field(wanted, true).data_type());
            }
        }
        assert_eq!(applied.rows.num_rows(), applied.of.len());
        applied
    }

    /// The first output's values as text; NULL is `NULL`.
    pub(crate) fn values(&self) -> Vec<String> {
        shown(self.apply().rows.column(0))
    }

    /// `row output: reason`.
    pub(crate) fn failures(&self) -> Vec<String> {
        told(&self.apply())
    }
}

pub(crate) fn told(applied: &Applied) -> Vec<String> {
    let failures = applied.failures.iter();
    failures
        .map(|failure| format!("{} {}: {}", failure.row, failure.output, failure.reason))
        .collect()
}

pub(crate) fn shown(column: &ArrayRef) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let formatter = ArrayFormatter::try_new(column, &options).unwrap();
    (0..column.len()).map(|row| formatter.value(row).to_string()).collect()
}
