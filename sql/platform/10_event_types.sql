-- Event types of the platform. All are closed objects with the id of their
-- exception; a field that may be unknown is optional. The events of an exception
-- have its id as aggregate and correlation id, so they are one ordered flow.
-- Types stay when the extension is dropped, as the events do, and registering
-- them again changes nothing.
do $types$
declare
    t record;
    fields constant jsonb := '{
        "type": {"type": "string", "minLength": 1, "maxLength": 200},
        "severity": {"enum": ["low", "medium", "high", "critical"]},
        "title": {"type": "string", "maxLength": 1000},
        "amount": {"type": "number"},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "occurred_at": {"type": "string", "format": "date-time"},
        "attributes": {"type": "object"}}';
    name constant jsonb := '{"type": "string", "minLength": 1, "maxLength": 200}';
    said constant jsonb := '{"type": "string", "maxLength": 8000}';
    number constant jsonb := '{"type": "integer", "minimum": 1}';
    share constant jsonb := '{"type": "number", "minimum": 0, "maximum": 1}';
    uuid constant jsonb := '{"type": "string", "format": "uuid"}';
    rules constant jsonb := '{"type": "array", "items": {"type": "object", "properties": {
        "rule": {"type": "string"}, "reason": {"type": "string"}}, "required": ["rule"], "additionalProperties": false}}';
begin
    for t in
        select * from (values
            ('ExceptionIngested', 'inbound', 'A system has reported an exception, in its own words.',
                jsonb_build_object('source', name, 'data', '{"type": "object"}'::jsonb, 'submitted_by', name),
                '{source,data}'::text[],
                '{"source": "settlement", "data": {"ref": "T-4711", "amt": "1250000.00", "ccy": "EUR", "status": "FAILED"}, "submitted_by": "gateway"}'::jsonb),
            ('ManualExceptionCreated', 'inbound', 'A person has reported an exception.',
                fields || jsonb_build_object('created_by', name), '{title}',
                '{"title": "Position of fund 7 does not match", "type": "position_break", "severity": "high", "created_by": "mia"}'),
            ('ExceptionNormalized', 'inbound', 'An exception has the fields that all exceptions have. Intake has made them by the tenant''s mapping rules.',
                fields || jsonb_build_object('source', name, 'origin', '{"enum": ["ingested", "manual"]}'::jsonb),
                '{source,origin,attributes}',
                '{"source": "settlement", "origin": "ingested", "type": "settlement_failed", "amount": 1250000.00, "currency": "EUR", "attributes": {"ref": "T-4711"}}'),
            ('TriageRequested', 'agent', 'An exception is to be triaged.',
                jsonb_build_object('reason', said), '{reason}', '{"reason": "normalized"}'),
            ('TriageCompleted', 'agent', 'The tenant''s triage rules have said what an exception is, and how bad.',
                jsonb_build_object('type', fields -> 'type', 'severity', fields -> 'severity', 'category', name,
                    'confidence', share, 'reasons', rules, 'due_at', fields -> 'occurred_at', 'warn_at', fields -> 'occurred_at', 'threshold', share),
                '{type,severity,category,confidence,reasons}',
                '{"type": "settlement_failed", "severity": "critical", "category": "settlement", "confidence": 0.9, "reasons": [{"rule": "large", "reason": "more than a million"}]}'),
            ('PolicyEvaluationRequested', 'agent', 'The tenant''s guardrails are to be asked about an exception.',
                jsonb_build_object('reason', said), '{reason}', '{"reason": "triaged"}'),
            ('PolicyEvaluationCompleted', 'agent', 'The guardrails have said what may be done without a person.',
                jsonb_build_object('decision', '{"enum": ["allowed", "needs_approval", "forbidden"]}'::jsonb, 'reasons', rules),
                '{decision,reasons}',
                '{"decision": "needs_approval", "reasons": [{"rule": "four eyes", "reason": "more than a million"}]}'),
            ('PlaybookMatched', 'agent', 'A version of a playbook was chosen for an exception.',
                jsonb_build_object('playbook', name, 'version', number, 'requested_by', name), '{playbook,version}',
                '{"playbook": "resend settlement", "version": 3}'),
            ('PlaybookRecalculationRequested', 'inbound', 'The playbook of an exception is to be chosen again.',
                jsonb_build_object('reason', said, 'requested_by', name), '{}',
                '{"reason": "the rules have changed", "requested_by": "mia"}'),
            ('StepExecutionRequested', 'agent', 'A step of a playbook is to be done.',
                jsonb_build_object('execution_id', uuid, 'playbook', name, 'version', number, 'step', number, 'name', name,
                    'attempt', number, 'compensation', '{"type": "boolean"}'::jsonb, 'tool', name, 'tool_execution_id', uuid,
                    'due_at', fields -> 'occurred_at'),
                '{execution_id,playbook,version,step,attempt}',
                '{"execution_id": "0190a1b2-0000-7000-8000-000000000001", "playbook": "resend settlement", "version": 3, "step": 1, "name": "ask the custodian", "attempt": 1}'),
            ('StepExecutionCompleted', 'agent', 'A step of a playbook is done, or was skipped, since its condition did not match.',
                jsonb_build_object('execution_id', uuid, 'step', number, 'name', name, 'attempt', number,
                    'compensation', '{"type": "boolean"}'::jsonb, 'skipped', '{"type": "boolean"}'::jsonb, 'result', '{"type": "object"}'::jsonb),
                '{execution_id,step}',
                '{"execution_id": "0190a1b2-0000-7000-8000-000000000001", "step": 1, "result": {"accepted": true}}'),
            ('StepExecutionFailed', 'agent', 'A step of a playbook could not be done.',
                jsonb_build_object('execution_id', uuid, 'step', number, 'name', name, 'attempt', number,
                    'compensation', '{"type": "boolean"}'::jsonb, 'error', said, 'retryable', '{"type": "boolean"}'::jsonb),
                '{execution_id,step,error}',
                '{"execution_id": "0190a1b2-0000-7000-8000-000000000001", "step": 1, "error": "the custodian does not answer", "retryable": true}'),
            ('ToolExecutionRequested', 'agent', 'A tool is to be called. Its execution id is the idempotency key of the call.',
                jsonb_build_object('execution_id', uuid, 'tool', name, 'arguments', '{"type": "object"}'::jsonb, 'requested_by', name,
                    'timeout_ms', '{"type": "integer", "minimum": 1, "maximum": 300000}'::jsonb),
                '{execution_id,tool,arguments}',
                '{"execution_id": "0190a1b2-0000-7000-8000-000000000002", "tool": "resend", "arguments": {"ref": "T-4711"}}'),
            ('ToolExecutionCompleted', 'agent', 'A tool has answered.',
                jsonb_build_object('execution_id', uuid, 'tool', name, 'duration_ms', '{"type": "number", "minimum": 0}'::jsonb,
                    'status', '{"type": "integer"}'::jsonb, 'response', '{}'::jsonb, 'updated', '{"type": "object"}'::jsonb),
                '{execution_id,tool,duration_ms}',
                '{"execution_id": "0190a1b2-0000-7000-8000-000000000002", "tool": "resend", "duration_ms": 81.5, "status": 200, "response": {"accepted": true}}'),
            ('ToolExecutionFailed', 'agent', 'A tool has not done what it should, or has not answered.',
                jsonb_build_object('execution_id', uuid, 'tool', name, 'duration_ms', '{"type": "number", "minimum": 0}'::jsonb,
                    'status', '{"type": "integer"}'::jsonb, 'response', '{}'::jsonb, 'error', said, 'retryable', '{"type": "boolean"}'::jsonb),
                '{execution_id,tool,error}',
                '{"execution_id": "0190a1b2-0000-7000-8000-000000000002", "tool": "resend", "status": 503, "error": "the service is away", "retryable": true}'),
            ('ApprovalRequested', 'agent', 'A person has to decide, until a time.',
                jsonb_build_object('approval_id', uuid, 'rule', name, 'reason', said, 'playbook', name, 'version', number,
                    'due_at', fields -> 'occurred_at', 'on_timeout', '{"enum": ["expired", "rejected"]}'::jsonb),
                '{approval_id,rule,due_at,on_timeout}',
                '{"approval_id": "0190a1b2-0000-7000-8000-000000000003", "rule": "four eyes", "reason": "more than a million", "playbook": "resend settlement", "version": 3, "due_at": "2026-11-30T12:00:00Z", "on_timeout": "expired"}'),
            ('ApprovalDecided', 'agent', 'It was decided, or the time was over.',
                jsonb_build_object('approval_id', uuid, 'decision', '{"enum": ["approved", "rejected", "expired"]}'::jsonb,
                    'decided_by', name, 'comment', said, 'timed_out', '{"type": "boolean"}'::jsonb),
                '{approval_id,decision}',
                '{"approval_id": "0190a1b2-0000-7000-8000-000000000003", "decision": "approved", "decided_by": "mia"}'),
            ('ExceptionResolved', 'agent', 'An exception is dealt with.',
                jsonb_build_object('outcome', name, 'comment', said, 'resolved_by', name, 'execution_id', uuid), '{outcome}',
                '{"outcome": "resent", "comment": "accepted by the custodian", "resolved_by": "mia"}'),
            ('ExceptionEscalated', 'agent', 'An exception needs people: no rule, no playbook and no tool could deal with it.',
                jsonb_build_object('reason', said, 'escalated_to', name, 'escalated_by', name, 'execution_id', uuid), '{reason}',
                '{"reason": "no playbook matches", "escalated_to": "operations"}'),
            ('FeedbackCaptured', 'agent', 'What became of an exception, and how long it took.',
                jsonb_build_object('outcome', name, 'seconds', '{"type": "number", "minimum": 0}'::jsonb,
                    'steps', '{"type": "integer", "minimum": 0}'::jsonb, 'state', '{"enum": ["resolved", "escalated"]}'::jsonb,
                    'type', fields -> 'type', 'severity', fields -> 'severity', 'ended_at', fields -> 'occurred_at'),
                '{outcome,seconds}',
                '{"outcome": "resent", "seconds": 5400, "steps": 2, "state": "resolved", "type": "settlement_failed", "severity": "critical", "ended_at": "2026-11-30T12:00:00Z"}')
            ) v (event_type, direction, description, properties, required, example)
    loop
        perform sentinai.register_event_type(t.event_type,
            jsonb_build_object('type', 'object', 'additionalProperties', false,
                'properties', '{"exception_id": {"type": "string", "minLength": 1, "maxLength": 1024}}'::jsonb || t.properties,
                'required', to_jsonb('{exception_id}'::text[] || t.required)),
            description => t.description, direction => t.direction,
            examples => jsonb_build_array('{"exception_id": "EX-17"}'::jsonb || t.example));
    end loop;
end $types$;
