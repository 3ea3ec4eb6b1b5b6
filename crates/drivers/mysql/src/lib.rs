//! dunlin-mysql.
