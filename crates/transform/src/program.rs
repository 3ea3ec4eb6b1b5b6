//! A compiled expression, and its evaluation so that a failure is one row's alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array, new_null_array,
};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, DataFusionError};
use datafusion_expr::Expr;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_physical_expr::expressions::BinaryExpr;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};

use crate::cast::{Cast, cast, merged, void};
use crate::functions::CastTo;
use crate::plan::{Columns, Typed};
use crate::reason::{Failures, Reason, UNKNOWN, reason_of};

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Program {
    /// The columns that it needs, by their places, in the order that it is given them.
    pub(crate) inputs: Vec<usize>,
    /// What it gives.
    pub(crate) data_type: DataType,
    schema: SchemaRef,
    evaluator: Arc<dyn PhysicalExpr>,
    /// It gives its one input, as it is.
    is_copy: bool,
    /// A cast at its root is done apart: it tells its rows' failures without a search for them.
    cast: Option<CastTo>,
    /// The same without named expressions, for rows where one of those failed.
    pub(crate) inlined: Option<Box<Self>>,
}

impl Program {
    /// Compiles a typed expression.
    pub(crate) fn of(typed: &Typed, columns: &Columns) -> datafusion_common::Result<Self> {
        let (expr, cast) = match &typed.expr {
            Expr::ScalarFunction(function) => {
                match (function.func.inner().downcast_ref::<CastTo>(), function.args.as_slice()) {
                    (Some(cast), [inner]) => (inner, Some(cast.clone())),
                    _ => (&typed.expr, None),
                }
            }
            _ => (&typed.expr, None),
        };
        let mut inputs: Vec<usize> =
            expr.column_refs().iter().filter_map(|column| columns.place(&column.name)).collect();
        inputs.sort_unstable();
        inputs.dedup();
        let fields = inputs.iter().filter_map(|place| columns.all.get(*place));
        let schema = Arc::new(Schema::new(
            fields.map(|of| Field::new(&of.name, of.stored.clone(), true)).collect::<Vec<_>>(),
        ));
        let df_schema = DFSchema::try_from(Arc::clone(&schema))?;
        let evaluator = create_physical_expr(
            expr,
            &df_schema,
            &ExecutionProps::new(),
            &PhysicalPlanningContext::default(),
        )?;
        let evaluator = evaluator.transform_up(checked)?.data;
        Ok(Self {
            is_copy: matches!(expr, Expr::Column(_)),
            inputs,
            data_type: typed.data_type.clone(),
            schema,
            evaluator,
            cast,
            inlined: None,
        })
    }

    /// Evaluates on the columns that it needs.
    pub(crate) fn run(&self, inputs: Vec<ArrayRef>, rows: usize) -> Result<Cast, ArrowError> {
        let (array, failures) = match inputs.first() {
            Some(first) if self.is_copy => (Arc::clone(first), Failures::new()),
            _ => {
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                let schema = Arc::clone(&self.schema);
                let batch = RecordBatch::try_new_with_options(schema, inputs, &options)?;
                self.evaluate(&batch)?
            }
        };
        let Some(to) = &self.cast else { return Ok((array, failures)) };
        let (array, more) = cast(&array, &to.to, &to.zone)?;
        let more = if to.or_null { Failures::new() } else { more };
        Ok((void(array, &failures)?, merged(failures, more)))
    }

    /// All rows at once; where that fails, each half on its own, down to the rows to blame.
    fn evaluate(&self, batch: &RecordBatch) -> Result<Cast, ArrowError> {
        let rows = batch.num_rows();
        let inner_type = self.inner_type()?;
        if rows == 0 {
            return Ok((new_empty_array(&inner_type), Failures::new()));
        }
        let reason = match self.attempt(batch, &inner_type)? {
            Ok(array) => return Ok((array, Failures::new())),
            Err(reason) => reason,
        };
        if rows == 1 {
            return Ok((new_null_array(&inner_type, 1), vec![(0, reason)]));
        }
        let half = rows / 2;
        let (first, mut failures) = self.evaluate(&batch.slice(0, half))?;
        let (second, more) = self.evaluate(&batch.slice(half, rows - half))?;
        failures.extend(more.into_iter().map(|(row, reason)| (row + half, reason)));
        Ok((concat(&[first.as_ref(), second.as_ref()])?, failures))
    }

    /// The type before the cast at the root.
    fn inner_type(&self) -> Result<DataType, ArrowError> {
        match &self.cast {
            None => Ok(self.data_type.clone()),
            Some(_) => self
                .evaluator
                .data_type(&self.schema)
                .map_err(|error| ArrowError::ComputeError(error.strip_backtrace())),
        }
    }

    /// The inner error: why a row of them fails. The outer one is no row's.
    fn attempt(
        &self,
        batch: &RecordBatch,
        data_type: &DataType,
    ) -> Result<Result<ArrayRef, Reason>, ArrowError> {
        // DataFusion is large, and a value that makes it panic must not end the process.
        let result = catch_unwind(AssertUnwindSafe(|| -> datafusion_common::Result<ArrayRef> {
            let value = self.evaluator.evaluate(batch)?;
            let array = value.into_array(batch.num_rows())?;
            if array.data_type() == data_type {
                return Ok(array);
            }
            Ok(arrow::compute::cast(&array, data_type)?)
        }));
        Ok(match result {
            Ok(Ok(array)) if array.len() == batch.num_rows() => Ok(array),
            Ok(Err(error)) => {
                if let DataFusionError::ResourcesExhausted(why) = error.find_root() {
                    return Err(ArrowError::MemoryError(why.clone()));
                }
                Err(reason_of(&error))
            }
            Ok(Ok(_)) | Err(_) => Err(Reason::Borrowed(UNKNOWN)),
        })
    }
}

/// Whole numbers wrap in DataFusion unless told not to.
fn checked(
    expr: Arc<dyn PhysicalExpr>,
) -> datafusion_common::Result<Transformed<Arc<dyn PhysicalExpr>>> {
    Ok(match expr.downcast_ref::<BinaryExpr>() {
        Some(binary) => {
            let (left, right) = (Arc::clone(binary.left()), Arc::clone(binary.right()));
            let binary = BinaryExpr::new(left, *binary.op(), right).with_fail_on_overflow(true);
            Transformed::yes(Arc::new(binary))
        }
        None => Transformed::no(expr),
    })
}
