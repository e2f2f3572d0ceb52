/**
 * Parts of a cluster with one promise broken on purpose: wrappers of what meets at the seams, so
 * that production code stays as it is.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.simulation.sabotage;
