SELECT json_build_object('results', json_agg(page)) FROM (
    SELECT contact.id, salutation, contact.first_name, contact.last_name,
        contact.email, email_label, other_emails, phone, phone_e164, phone_label,
        other_phones, mobile, mobile_e164, company_id, company_name,
        contact.job_title, department, address_line_1, address_line_2, city, state,
        postal_code, country, contact_type, source, status, website, linkedin, notes,
        tags, external_ids, custom_fields, contact.version, contact.created_at,
        contact.updated_at,
        json_build_object('id', owner.id, 'email', owner.email) AS owner
    FROM contact_management_contact AS contact
    LEFT JOIN user_management_user AS owner ON owner.id = contact.owner_id
    WHERE contact.organization_id = :organization::uuid AND contact.deleted_at IS NULL
    ORDER BY contact.created_at DESC, contact.id DESC
    LIMIT 25
) AS page;
