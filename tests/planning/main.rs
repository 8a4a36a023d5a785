//! Planning without a server: case files, and the judge against faulty rewriters.
mod cases;
mod columns;
mod fixture;
mod judge;
mod kept;
mod marks;
mod shapes;
