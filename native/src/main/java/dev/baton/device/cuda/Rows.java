package dev.baton.device.cuda;

/**
 * How many rows an operation is of: the grid's, known when it is launched or recorded, and a place
 * on the GPU where the number of a step stands, which is at most as many.
 */
record Rows(long address, int grid) {}
