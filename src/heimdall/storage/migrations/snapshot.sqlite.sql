-- Written by 'make gen' from the migrations: what they make of an empty SQLite file. Do not edit.
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0008');
CREATE TABLE audit (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	timestamp TEXT NOT NULL, 
	who TEXT NOT NULL, 
	name TEXT, 
	role TEXT NOT NULL, 
	means TEXT NOT NULL, 
	client TEXT, 
	request_id TEXT, 
	action TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	subject_id TEXT, 
	subject_name TEXT, 
	detail TEXT NOT NULL
);
CREATE TABLE datasets (
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	name_folded TEXT NOT NULL, 
	status TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	content_hash TEXT, 
	version INTEGER NOT NULL, 
	document TEXT NOT NULL, 
	CONSTRAINT pk_datasets PRIMARY KEY (id)
);
CREATE TABLE events (
	position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	job_id TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	type TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	CONSTRAINT uq_events_job_id_seq UNIQUE (job_id, seq)
);
CREATE TABLE holds (
	id TEXT NOT NULL, 
	expires_at TEXT NOT NULL, 
	CONSTRAINT pk_holds PRIMARY KEY (id)
);
CREATE TABLE job_changes (
	position INTEGER NOT NULL, 
	status TEXT NOT NULL, 
	num_jobs INTEGER NOT NULL, 
	CONSTRAINT pk_job_changes PRIMARY KEY (position)
);
CREATE TABLE jobs (
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	name_folded TEXT NOT NULL, 
	search_text TEXT NOT NULL, 
	status TEXT NOT NULL, 
	pending_action TEXT, 
	created_at TEXT NOT NULL, 
	started_at TEXT, 
	completed_at TEXT, 
	status_changed_at TEXT, 
	progress_percent FLOAT NOT NULL, 
	current_epoch INTEGER NOT NULL, 
	total_epochs INTEGER NOT NULL, 
	estimated_completion TEXT, 
	attempt INTEGER NOT NULL, 
	dataset_id TEXT NOT NULL, 
	model_id TEXT, 
	best_epoch INTEGER, 
	best_val_loss FLOAT, 
	best_val_error_median_m FLOAT, 
	last_seq INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	continued_from TEXT, 
	resume_is_exact BOOLEAN, 
	worker_id TEXT, 
	worker_seen_at TEXT, 
	lease_expires_at TEXT, 
	losses INTEGER DEFAULT '0' NOT NULL, 
	next_enqueue_at TEXT, 
	idempotency_key TEXT, 
	fingerprint TEXT, 
	config TEXT NOT NULL, 
	checkpoint TEXT, 
	device TEXT, 
	error_message TEXT, 
	error_detail TEXT, notice TEXT, silent_since TEXT, 
	CONSTRAINT pk_jobs PRIMARY KEY (id), 
	CONSTRAINT uq_jobs_idempotency_key UNIQUE (idempotency_key)
);
CREATE TABLE logs (
	job_id TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	timestamp TEXT NOT NULL, 
	text TEXT NOT NULL, 
	CONSTRAINT pk_logs PRIMARY KEY (job_id, number), 
	CONSTRAINT fk_logs_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
CREATE TABLE metric_summaries (
	job_id TEXT NOT NULL, 
	level INTEGER NOT NULL, 
	bucket INTEGER NOT NULL, 
	body BLOB NOT NULL, 
	CONSTRAINT pk_metric_summaries PRIMARY KEY (job_id, level, bucket), 
	CONSTRAINT fk_metric_summaries_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
CREATE TABLE metrics (
	job_id TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	timestamp TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	train_loss FLOAT, 
	val_loss FLOAT, 
	train_accuracy FLOAT, 
	val_accuracy FLOAT, 
	learning_rate FLOAT, 
	epoch_duration_seconds FLOAT, 
	val_error_median_m FLOAT, 
	val_error_p68_m FLOAT, 
	val_error_p95_m FLOAT, 
	val_nll FLOAT, 
	val_coverage_68 FLOAT, 
	grad_norm FLOAT, 
	samples_per_second FLOAT, 
	non_finite TEXT, 
	CONSTRAINT pk_metrics PRIMARY KEY (job_id, epoch), 
	CONSTRAINT fk_metrics_job_id_jobs FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
CREATE TABLE models (
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	created_at TEXT NOT NULL, 
	bundle_hash TEXT, 
	summary TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	CONSTRAINT pk_models PRIMARY KEY (id), 
	CONSTRAINT uq_models_bundle_hash UNIQUE (bundle_hash), 
	CONSTRAINT uq_models_name_version UNIQUE (name, version)
);
CREATE TABLE tombstones (
	"key" TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	CONSTRAINT pk_tombstones PRIMARY KEY ("key")
);
CREATE INDEX ix_jobs_created_at_id ON jobs (created_at, id);
CREATE INDEX ix_jobs_name_folded_id ON jobs (name_folded, id);
CREATE INDEX ix_jobs_dataset_id ON jobs (dataset_id);
CREATE INDEX ix_datasets_content_hash ON datasets (content_hash);
CREATE INDEX ix_audit_subject_id ON audit (subject_id);
CREATE TRIGGER audit_refuse_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log can only be added to'); END;
CREATE TRIGGER audit_refuse_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log can only be added to'); END;
CREATE TRIGGER audit_refuse_replace BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE position = NEW.position) BEGIN SELECT RAISE(ABORT, 'the audit log can only be added to'); END;
CREATE INDEX ix_jobs_status_created_at_id ON jobs (status, created_at, id);
CREATE TRIGGER job_changes_added AFTER INSERT ON jobs WHEN TRUE BEGIN INSERT INTO job_changes (status, num_jobs) VALUES (NEW.status, 1); END;
CREATE TRIGGER job_changes_removed AFTER DELETE ON jobs WHEN TRUE BEGIN INSERT INTO job_changes (status, num_jobs) VALUES (OLD.status, -1); END;
CREATE TRIGGER job_changes_moved AFTER UPDATE OF status ON jobs WHEN OLD.status <> NEW.status BEGIN INSERT INTO job_changes (status, num_jobs) VALUES (OLD.status, -1), (NEW.status, 1); END;
CREATE TRIGGER job_changes_silent AFTER UPDATE OF version ON jobs WHEN OLD.last_seq = NEW.last_seq AND OLD.status = NEW.status BEGIN INSERT INTO job_changes (status, num_jobs) VALUES (NEW.status, 0); END;
CREATE TRIGGER job_changes_folded AFTER INSERT ON job_changes WHEN NEW.position % 64 = 0 BEGIN INSERT INTO job_changes (status, num_jobs) SELECT status, sum(num_jobs) FROM job_changes GROUP BY status; DELETE FROM job_changes WHERE position <= NEW.position; END;
DELETE FROM "sqlite_sequence";
