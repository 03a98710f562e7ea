CREATE FUNCTION public.audit_refuse() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'the audit log can only be added to'; END $$;

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);

CREATE TABLE public.audit (
    "position" bigint NOT NULL,
    "timestamp" timestamp with time zone NOT NULL,
    who text NOT NULL,
    name text,
    role text NOT NULL,
    means text NOT NULL,
    client text,
    request_id text,
    action text NOT NULL,
    subject text NOT NULL,
    subject_id text,
    subject_name text,
    detail text NOT NULL
);

CREATE SEQUENCE public.audit_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.audit_position_seq OWNED BY public.audit."position";

CREATE TABLE public.datasets (
    id text NOT NULL,
    name text NOT NULL,
    name_folded text NOT NULL,
    status text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    content_hash text,
    version integer NOT NULL,
    document text NOT NULL
);

CREATE TABLE public.events (
    "position" bigint NOT NULL,
    job_id text NOT NULL,
    seq integer NOT NULL,
    type text NOT NULL,
    payload text NOT NULL,
    created_at timestamp with time zone NOT NULL
);

CREATE SEQUENCE public.events_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.events_position_seq OWNED BY public.events."position";

CREATE TABLE public.holds (
    id text NOT NULL,
    expires_at timestamp with time zone NOT NULL
);

CREATE TABLE public.jobs (
    id text NOT NULL,
    name text NOT NULL,
    name_folded text NOT NULL COLLATE pg_catalog."C",
    search_text text NOT NULL,
    status text NOT NULL,
    pending_action text,
    created_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    status_changed_at timestamp with time zone,
    progress_percent double precision NOT NULL,
    current_epoch integer NOT NULL,
    total_epochs integer NOT NULL,
    estimated_completion timestamp with time zone,
    attempt integer NOT NULL,
    dataset_id text NOT NULL,
    model_id text,
    best_epoch integer,
    best_val_loss double precision,
    best_val_error_median_m double precision,
    last_seq integer NOT NULL,
    version integer NOT NULL,
    continued_from text,
    resume_is_exact boolean,
    worker_id text,
    worker_seen_at timestamp with time zone,
    lease_expires_at timestamp with time zone,
    losses integer DEFAULT 0 NOT NULL,
    next_enqueue_at timestamp with time zone,
    idempotency_key text,
    fingerprint text,
    config text NOT NULL,
    checkpoint text,
    device text,
    error_message text,
    error_detail text,
    notice text,
    silent_since timestamp with time zone
);

CREATE TABLE public.logs (
    job_id text NOT NULL,
    number integer NOT NULL,
    "timestamp" timestamp with time zone NOT NULL,
    text text NOT NULL
);

CREATE TABLE public.metric_summaries (
    job_id text NOT NULL,
    level integer NOT NULL,
    bucket integer NOT NULL,
    body bytea NOT NULL
);

CREATE TABLE public.metrics (
    job_id text NOT NULL,
    epoch integer NOT NULL,
    "timestamp" timestamp with time zone NOT NULL,
    attempt integer NOT NULL,
    train_loss double precision,
    val_loss double precision,
    train_accuracy double precision,
    val_accuracy double precision,
    learning_rate double precision,
    epoch_duration_seconds double precision,
    val_error_median_m double precision,
    val_error_p68_m double precision,
    val_error_p95_m double precision,
    val_nll double precision,
    val_coverage_68 double precision,
    grad_norm double precision,
    samples_per_second double precision,
    non_finite text
);

CREATE TABLE public.models (
    id text NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    bundle_hash text,
    summary text NOT NULL,
    detail text NOT NULL
);

CREATE TABLE public.tombstones (
    key text NOT NULL,
    created_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY public.audit ALTER COLUMN "position" SET DEFAULT nextval('public.audit_position_seq'::regclass);

ALTER TABLE ONLY public.events ALTER COLUMN "position" SET DEFAULT nextval('public.events_position_seq'::regclass);

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY public.audit
    ADD CONSTRAINT pk_audit PRIMARY KEY ("position");

ALTER TABLE ONLY public.datasets
    ADD CONSTRAINT pk_datasets PRIMARY KEY (id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT pk_events PRIMARY KEY ("position");

ALTER TABLE ONLY public.holds
    ADD CONSTRAINT pk_holds PRIMARY KEY (id);

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT pk_jobs PRIMARY KEY (id);

ALTER TABLE ONLY public.logs
    ADD CONSTRAINT pk_logs PRIMARY KEY (job_id, number);

ALTER TABLE ONLY public.metric_summaries
    ADD CONSTRAINT pk_metric_summaries PRIMARY KEY (job_id, level, bucket);

ALTER TABLE ONLY public.metrics
    ADD CONSTRAINT pk_metrics PRIMARY KEY (job_id, epoch);

ALTER TABLE ONLY public.models
    ADD CONSTRAINT pk_models PRIMARY KEY (id);

ALTER TABLE ONLY public.tombstones
    ADD CONSTRAINT pk_tombstones PRIMARY KEY (key);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT uq_events_job_id_seq UNIQUE (job_id, seq);

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT uq_jobs_idempotency_key UNIQUE (idempotency_key);

ALTER TABLE ONLY public.models
    ADD CONSTRAINT uq_models_bundle_hash UNIQUE (bundle_hash);

ALTER TABLE ONLY public.models
    ADD CONSTRAINT uq_models_name_version UNIQUE (name, version);

CREATE INDEX ix_audit_subject_id ON public.audit USING btree (subject_id);

CREATE INDEX ix_datasets_content_hash ON public.datasets USING btree (content_hash);

CREATE INDEX ix_jobs_created_at_id ON public.jobs USING btree (created_at, id);

CREATE INDEX ix_jobs_dataset_id ON public.jobs USING btree (dataset_id);

CREATE INDEX ix_jobs_name_folded_id ON public.jobs USING btree (name_folded, id);

CREATE INDEX ix_jobs_status_version ON public.jobs USING btree (status, version);

CREATE TRIGGER audit_refuse BEFORE DELETE OR UPDATE ON public.audit FOR EACH ROW EXECUTE FUNCTION public.audit_refuse();

CREATE TRIGGER audit_refuse_truncate BEFORE TRUNCATE ON public.audit FOR EACH STATEMENT EXECUTE FUNCTION public.audit_refuse();

ALTER TABLE ONLY public.logs
    ADD CONSTRAINT fk_logs_job_id_jobs FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.metric_summaries
    ADD CONSTRAINT fk_metric_summaries_job_id_jobs FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.metrics
    ADD CONSTRAINT fk_metrics_job_id_jobs FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;

