"""Pure, frozen core: entities, the job state machine, schemas, errors and ports. No I/O."""
