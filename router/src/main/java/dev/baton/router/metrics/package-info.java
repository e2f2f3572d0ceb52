/** What Prometheus sees of the router and, through it, of the workers. */
@org.jspecify.annotations.NullMarked
package dev.baton.router.metrics;
