//! Regular expressions: a constant pattern is compiled once, with the expression.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanBuilder, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use regex::{Regex, RegexBuilder};

use crate::reason::carry;

/// A compiled pattern; two are the same where their texts are.
#[derive(Debug, Clone)]
struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

fn pattern(text: &str, flags: Option<&str>) -> Result<Regex, &'static str> {
    let mut builder = RegexBuilder::new(text);
    for flag in flags.unwrap_or_default().chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            's' => builder.dot_matches_new_line(true),
            'm' => builder.multi_line(true),
            'x' => builder.ignore_whitespace(true),
            _ => return Err("is not a flag of a regular expression: i, s, m or x are"),
        };
    }
    builder.build().map_err(|_| "is not a regular expression")
}

/// `regexp_match(text, pattern, flags)`: the groups as a list, or the whole match where the pattern
/// has none; NULL where nothing matches. A group that took no part is NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Groups {
    constant: Option<Pattern>,
    flags: String,
    /// That one alone, from 1.
    group: Option<usize>,
    signature: Signature,
}

impl Groups {
    /// For any arguments.
    pub(crate) fn any() -> Self {
        Self {
            constant: None,
            flags: String::new(),
            group: None,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    /// For a constant pattern; takes the text alone. `group`: that one instead of the list.
    pub(crate) fn of(
        text: &str,
        flags: Option<&str>,
        group: Option<usize>,
    ) -> Result<Self, &'static str> {
        Ok(Self {
            constant: Some(Pattern(pattern(text, flags)?)),
            flags: flags.unwrap_or_default().to_owned(),
            group,
            signature: Signature::any(1, Volatility::Immutable),
        })
    }

    /// The same, for one group.
    pub(crate) fn only(&self, group: usize) -> Self {
        Self {
            constant: self.constant.clone(),
            flags: self.flags.clone(),
            group: Some(group),
            signature: self.signature.clone(),
        }
    }

    /// It has a constant pattern, and gives all groups.
    pub(crate) fn is_constant_list(&self) -> bool {
        self.constant.is_some() && self.group.is_none()
    }
}

fn texts_only(
    name: &str,
    arg_types: &[DataType],
    count: std::ops::RangeInclusive<usize>,
) -> Result<Vec<DataType>> {
    let text = |of: &DataType| of.is_string() || of.is_null();
    if !count.contains(&arg_types.len()) || !arg_types.iter().all(text) {
        return plan_err!("{name} takes texts, {} to {} of them", count.start(), count.end());
    }
    Ok(vec![DataType::Utf8; arg_types.len()])
}

impl ScalarUDFImpl for Groups {
    fn name(&self) -> &'static str {
        "regexp_match"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        texts_only("regexp_match", arg_types, 2..=3)
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        if self.group.is_some() {
            return Ok(DataType::Utf8);
        }
        Ok(DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays =
            args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<ArrayRef>>>()?;
        let Some(texts) = arrays.first().and_then(|texts| texts.as_string_opt::<i32>()) else {
            return Err(carry("the expression fails"));
        };
        if let (Some(regex), Some(group)) = (&self.constant, self.group) {
            return Ok(ColumnarValue::Array(one_group(&regex.0, texts, group)));
        }
        let mut lists = ListBuilder::new(StringBuilder::new());
        let mut last: Option<(String, String, Regex)> = None;
        for row in 0..texts.len() {
            let at = |place: usize| {
                arrays
                    .get(place)?
                    .as_string_opt::<i32>()
                    .filter(|of| of.is_valid(row))
                    .map(|of| of.value(row))
            };
            let given_null = arrays.iter().any(|array| array.is_null(row));
            if given_null {
                lists.append_null();
                continue;
            }
            let regex = match &self.constant {
                Some(regex) => &regex.0,
                None => {
                    let (text, flags) = (at(1).unwrap_or_default(), at(2).unwrap_or_default());
                    let known = last.as_ref().is_some_and(|(a, b, _)| a == text && b == flags);
                    if !known {
                        let regex = pattern(text, Some(flags)).map_err(carry)?;
                        last = Some((text.to_owned(), flags.to_owned(), regex));
                    }
                    match &last {
                        Some((_, _, regex)) => regex,
                        None => continue,
                    }
                }
            };
            append_groups(regex, texts.value(row), &mut lists);
        }
        Ok(ColumnarValue::Array(Arc::new(lists.finish())))
    }
}

fn append_groups(regex: &Regex, text: &str, lists: &mut ListBuilder<StringBuilder>) {
    let Some(captures) = regex.captures(text) else {
        lists.append_null();
        return;
    };
    let from = usize::from(captures.len() > 1);
    for group in captures.iter().skip(from) {
        lists.values().append_option(group.map(|group| group.as_str()));
    }
    lists.append(true);
}

fn one_group(regex: &Regex, texts: &arrow::array::StringArray, group: usize) -> ArrayRef {
    let count = regex.captures_len();
    let place = match (count, group) {
        (1, 1) => 0,
        (_, group) => group,
    };
    let known = group >= 1 && place < count;
    let mut slots = regex.capture_locations();
    let mut found = StringBuilder::with_capacity(texts.len(), texts.len() * 4);
    for text in texts {
        let span = text.filter(|_| known).and_then(|text| {
            regex.captures_read(&mut slots, text)?;
            let (from, to) = slots.get(place)?;
            text.get(from..to)
        });
        found.append_option(span);
    }
    Arc::new(found.finish())
}

/// `text ~ 'pattern'`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Matches {
    pattern: Pattern,
    negated: bool,
    ignores_case: bool,
    signature: Signature,
}

impl Matches {
    /// For a constant pattern.
    pub(crate) fn of(text: &str, negated: bool, ignores_case: bool) -> Result<Self, &'static str> {
        let pattern = Pattern(pattern(text, ignores_case.then_some("i"))?);
        let signature = Signature::any(1, Volatility::Immutable);
        Ok(Self { pattern, negated, ignores_case, signature })
    }
}

impl ScalarUDFImpl for Matches {
    fn name(&self) -> &'static str {
        "matches"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args.first().map(|arg| arg.to_array(args.number_rows)).transpose()?;
        let Some(texts) = array.as_ref().and_then(|array| array.as_string_opt::<i32>()) else {
            return Err(carry("the expression fails"));
        };
        let mut found = BooleanBuilder::with_capacity(texts.len());
        for text in texts {
            found.append_option(text.map(|text| self.pattern.0.is_match(text) != self.negated));
        }
        Ok(ColumnarValue::Array(Arc::new(found.finish())))
    }
}
