#!/usr/bin/env bash
# Run the engine on Cloud Run: a service that Cloud Tasks calls, a job that makes all due videos of the Redis queue, or a
# pool of workers for that queue. Prints the commands; with --apply, runs them. It can be repeated safely.
set -euo pipefail

usage() {
	cat >&2 <<'END'
usage: deploy.sh service|job|pool --project PROJECT --bucket BUCKET [--region us-central1]
                 [--image IMAGE] [--concurrent 32] [--per-instance 4] [--instances 1] [--worker-url URL] [--apply]
END
	exit 2
}

kind=${1-}
[[ $kind =~ ^(service|job|pool)$ ]] || usage
shift
project='' bucket='' region=us-central1 image='' concurrent=32 per_instance=4 instances=1 url='' apply=''
while (($#)); do
	case $1 in
	--project) project=${2-} && shift ;;
	--bucket) bucket=${2-} && shift ;;
	--region) region=${2-} && shift ;;
	--image) image=${2-} && shift ;;
	--concurrent) concurrent=${2-} && shift ;;
	--per-instance) per_instance=${2-} && shift ;;
	--instances) instances=${2-} && shift ;;
	--worker-url) url=${2-} && shift ;;
	--apply) apply=yes ;;
	*) usage ;;
	esac
	shift || usage
done
[[ $project && $bucket ]] || usage
[[ "$concurrent $per_instance $instances" =~ ^[1-9][0-9]*\ [1-9][0-9]*\ [1-9][0-9]*$ ]] || usage
if [[ $apply ]] && ! command -v gcloud >/dev/null; then
	echo 'error: gcloud is not installed; see https://cloud.google.com/sdk/docs/install' >&2
	exit 1
fi

run() {
	printf '%q ' "$@"
	printf '\n'
	if [[ $apply ]]; then "$@"; fi
}

image=${image:-$region-docker.pkg.dev/$project/flow/engine:latest}
worker="flow-worker@$project.iam.gserviceaccount.com"
tokens="flow-tasks@$project.iam.gserviceaccount.com"
where=(--project "$project" --region "$region")

# The home is in memory, as the whole disk of a container: it has the spool, and no records.
settings="TENXSOM_OUTPUT_DIR=gs://$bucket/videos,TENXSOM_HOME=/tmp/flow,GOOGLE_CLOUD_PROJECT=$project"
common=("${where[@]}" --image "$image" --service-account "$worker" --memory 2Gi --cpu 2)
secrets=REDIS_URL=flow-store:latest,TENXSOM_ADMIN_TOKEN=flow-admin-token:latest

echo "# The secrets flow-store (the address of the Redis server) and flow-admin-token must exist; see README.md."
run gcloud storage buckets add-iam-policy-binding "gs://$bucket" --member "serviceAccount:$worker" \
	--role roles/storage.objectUser
# Signs the links to videos: the account has no key file.
run gcloud iam service-accounts add-iam-policy-binding "$worker" --member "serviceAccount:$worker" \
	--role roles/iam.serviceAccountTokenCreator --project "$project"

case $kind in
service)
	if [[ ! $url ]]; then
		number=PROJECT_NUMBER
		if [[ $apply ]]; then number=$(gcloud projects describe "$project" --format 'value(projectNumber)'); fi
		url="https://flow-worker-$number.$region.run.app"
	fi
	# More instances than the queue's limit can fill would only cost starts.
	most=$(((concurrent + per_instance - 1) / per_instance))
	settings+=",TENXSOM_QUEUE_TYPE=cloud_tasks,CLOUD_TASKS_LOCATION=$region,CLOUD_TASKS_WORKER_URL=$url"
	settings+=",CLOUD_TASKS_SERVICE_ACCOUNT=$tokens,CLOUD_TASKS_MAX_CONCURRENT=$concurrent"
	settings+=",TENXSOM_WORKER_CONCURRENCY=$per_instance,TENXSOM_DRAFT_IN_STEP=1"
	run gcloud run deploy flow-worker "${common[@]}" --no-allow-unauthenticated --execution-environment gen2 \
		--timeout 1800 --concurrency "$((per_instance + 4))" --min-instances 0 --max-instances "$most" --cpu-throttling \
		--set-env-vars "$settings" --set-secrets "$secrets"
	run gcloud run services add-iam-policy-binding flow-worker "${where[@]}" --member "serviceAccount:$tokens" \
		--role roles/run.invoker
	;;
job)
	settings+=",TENXSOM_QUEUE_TYPE=redis,CLOUD_TASKS_MAX_CONCURRENT=$concurrent"
	run gcloud run jobs deploy flow-burst "${common[@]}" --command python \
		--args worker.py,--burst,--concurrency,"$per_instance" --tasks "$instances" --parallelism "$instances" \
		--max-retries 3 --task-timeout 24h --set-env-vars "$settings" --set-secrets "$secrets"
	run gcloud run jobs execute flow-burst "${where[@]}"
	;;
pool)
	settings+=",TENXSOM_QUEUE_TYPE=redis,CLOUD_TASKS_MAX_CONCURRENT=$concurrent"
	run gcloud beta run worker-pools deploy flow-pool "${common[@]}" --command python \
		--args worker.py,--concurrency,"$per_instance" --instances "$instances" \
		--set-env-vars "$settings" --set-secrets "$secrets"
	;;
esac
