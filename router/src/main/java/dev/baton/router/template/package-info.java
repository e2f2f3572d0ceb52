/**
 * A strict interpreter for the Jinja that chat templates are written in, as Hugging Face renders
 * it: trim_blocks, lstrip_blocks, loop controls, the immutable sandbox. It knows nothing of models
 * or tokens; {@link dev.baton.router.template.Template} is the door. What it does not know fails
 * when the template is parsed, since a silently different prompt is worse than an error.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.router.template;
