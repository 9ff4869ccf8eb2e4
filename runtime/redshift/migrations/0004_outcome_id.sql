-- Outcomes are told apart by this: a procedure's number may be given anew to another case on the same robot.
UPDATE {schema}.procedure_outcomes SET outcome_id = procedure_id || '/' || robot_id WHERE outcome_id IS NULL;
