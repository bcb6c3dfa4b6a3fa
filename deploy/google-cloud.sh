#!/usr/bin/env bash
# Set up a Google Cloud project for Cloud Tasks: APIs, the queue, two service accounts, and their roles on that queue.
# Prints the commands; with --apply, runs them. It can be repeated safely.
set -euo pipefail

usage() {
	echo "usage: $0 --project PROJECT [--location us-central1] [--queue tenxsom-video-generation] [--worker-url URL] [--apply]" >&2
	exit 2
}

project='' location=us-central1 queue=tenxsom-video-generation worker_url='' apply=''
while (($#)); do
	case $1 in
	--project) project=${2-} && shift ;;
	--location) location=${2-} && shift ;;
	--queue) queue=${2-} && shift ;;
	--worker-url) worker_url=${2-} && shift ;;
	--apply) apply=yes ;;
	*) usage ;;
	esac
	shift || usage
done
[[ $project ]] || usage
if [[ $apply ]] && ! command -v gcloud >/dev/null; then
	echo 'error: gcloud is not installed; see https://cloud.google.com/sdk/docs/install' >&2
	exit 1
fi

run() {
	printf '%q ' "$@"
	printf '\n'
	if [[ $apply ]]; then "$@"; fi
}

account() { # name, description
	if [[ $apply ]] && gcloud iam service-accounts describe "$1@$project.iam.gserviceaccount.com" --project "$project" >/dev/null 2>&1; then
		echo "# the account $1 already exists"
	else
		run gcloud iam service-accounts create "$1" --display-name "$2" --project "$project"
	fi
}

# The worker and the command line act as `flow-worker`; the tokens of deliveries name `flow-tasks`, which has no roles.
worker="flow-worker@$project.iam.gserviceaccount.com"
tokens="flow-tasks@$project.iam.gserviceaccount.com"

run gcloud services enable cloudtasks.googleapis.com iam.googleapis.com --project "$project"
if [[ $apply ]] && gcloud tasks queues describe "$queue" --location "$location" --project "$project" >/dev/null 2>&1; then
	echo "# the queue $queue already exists"
else
	run gcloud tasks queues create "$queue" --location "$location" --project "$project"
fi
account flow-worker 'Tenxsom Flow Engine: adds tasks and manages the queue'
account flow-tasks 'Tenxsom Flow Engine: signs deliveries to the worker'
# Add tasks; find lost tasks; manage the queue (depth, pause, purge, limits). No role applies to other queues.
for role in roles/cloudtasks.enqueuer roles/cloudtasks.viewer roles/cloudtasks.queueAdmin; do
	run gcloud tasks queues add-iam-policy-binding "$queue" --location "$location" --project "$project" \
		--member "serviceAccount:$worker" --role "$role" --quiet
done
# Creating a task with a token requires permission to act as the account of the tokens.
run gcloud iam service-accounts add-iam-policy-binding "$tokens" --member "serviceAccount:$worker" \
	--role roles/iam.serviceAccountUser --project "$project" --quiet

cat <<END
# Then put these lines into /etc/tenxsom-flow-engine.env on the worker's machine:
#   TENXSOM_QUEUE_TYPE=cloud_tasks
#   GOOGLE_CLOUD_PROJECT=$project
#   CLOUD_TASKS_LOCATION=$location
#   CLOUD_TASKS_QUEUE=$queue
#   CLOUD_TASKS_SERVICE_ACCOUNT=$tokens
#   CLOUD_TASKS_WORKER_URL=${worker_url:-https://YOUR-WORKER}
# and set the queue's limits, as $worker:
#   .venv/bin/python run_flow_enhanced.py queue update --queue-type cloud_tasks
END
