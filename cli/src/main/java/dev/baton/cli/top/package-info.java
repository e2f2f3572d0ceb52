/** The screen of {@code baton top}. */
@org.jspecify.annotations.NullMarked
package dev.baton.cli.top;
