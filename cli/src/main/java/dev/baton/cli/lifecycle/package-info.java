/** How a foreground process learns that it shall end: signals, and the death of its parent. */
@NullMarked
package dev.baton.cli.lifecycle;

import org.jspecify.annotations.NullMarked;
